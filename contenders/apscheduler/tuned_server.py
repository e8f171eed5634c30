"""The same server, whose scheduler runs a job however late it is, and asks a lost database again after a second."""

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from server import URL, serve

if __name__ == "__main__":
    serve(
        BackgroundScheduler(
            jobstores={"default": SQLAlchemyJobStore(url=URL, engine_options={"pool_pre_ping": True})},
            executors={"default": ThreadPoolExecutor(20)},
            # A key is the job's id, and may fall due again, in a newer revision, while the older one runs.
            job_defaults={"misfire_grace_time": None, "max_instances": 20},
            jobstore_retry_interval=1,
        )
    )
