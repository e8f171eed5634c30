"""A worker script, as RQ's documentation advises, so that ``jobs`` is imported once and not for each job.

A worker looks after the scheduler and after abandoned jobs when `maintenance_interval` has passed, and only between two
jobs or after `worker_ttl` - 15 s without one. An execution counts as abandoned `job_monitoring_interval` + 60 s after
its last sign of life; the 60 s are fixed, as is the lock of the scheduler, 61 s.
"""

import os

import jobs  # noqa: F401
from redis import Redis
from rq import Worker

if __name__ == "__main__":
    connection = Redis.from_url(os.environ["REDIS_URL"])
    worker = Worker(
        ["default"], connection=connection, worker_ttl=16, maintenance_interval=5, job_monitoring_interval=1
    )
    worker.work(with_scheduler=True)
