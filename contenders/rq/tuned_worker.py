"""A pool of four workers, as RQ's documentation has it, because a worker executes one job at a time.

They import ``jobs`` once, and not in the process of each job. A worker looks after the scheduler and after abandoned
jobs when `maintenance_interval` has passed, and only between two jobs or after `worker_ttl` - 15 s without one. An
execution counts as abandoned `job_monitoring_interval` + 60 s after its last sign of life.
"""

import os

import jobs  # noqa: F401
from redis import Redis
from rq import Worker
from rq.worker_pool import WorkerPool


class TunedWorker(Worker):
    def __init__(self, *args, **options):
        super().__init__(*args, worker_ttl=16, maintenance_interval=5, job_monitoring_interval=1, **options)


if __name__ == "__main__":
    connection = Redis.from_url(os.environ["REDIS_URL"])
    pool = WorkerPool(["default"], connection=connection, num_workers=4, worker_class=TunedWorker)
    pool.start(burst=False)  # each worker with a scheduler
