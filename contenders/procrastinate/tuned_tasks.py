"""The same application with what its documentation recommends: a retry strategy, and a task that retries stalled jobs.

``python tuned_tasks.py NAME`` starts its worker: the command line has no option for the interval of the heartbeats.
"""

import logging
import sys

from procrastinate import RetryStrategy
from tasks import app, deliver

deliver.retry_strategy = RetryStrategy(exponential_wait=2)


@app.periodic(cron="* * * * * */2")
@app.task(name="retry_stalled_jobs", queueing_lock="retry_stalled_jobs", pass_context=True)
async def retry_stalled_jobs(context, timestamp):
    for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=3):
        await app.job_manager.retry_job(job)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    app.run_worker(
        name=sys.argv[1],
        concurrency=4,
        fetch_job_polling_interval=0.5,
        update_heartbeat_interval=1,
        stalled_worker_timeout=3,
    )
