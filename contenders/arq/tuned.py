"""The tuned worker: ``arq tuned.WorkerSettings``. arq reads the class itself, so it cannot inherit settings."""

import os

import jobs
from arq import Retry
from arq.connections import RedisSettings
from httpx import HTTPError

JOB_TIMEOUT_S = 10


async def startup(ctx):
    await jobs.startup(ctx)
    ctx["session"].timeout = JOB_TIMEOUT_S - 1  # a job that exceeds its own timeout is not retried


async def deliver(ctx, key, revision):
    try:
        await jobs.deliver(ctx, key, revision)
    except HTTPError as error:
        raise Retry(defer=1) from error


class WorkerSettings:
    functions = (deliver,)
    on_startup = startup
    on_shutdown = jobs.shutdown
    redis_settings = RedisSettings.from_dsn(os.environ["REDIS_URL"])
    allow_abort_jobs = True
    job_timeout = JOB_TIMEOUT_S  # the job of a dead worker comes back 10 s later
    max_tries = 20
    job_completion_wait = 5
    # By default a look reads 100 jobs and starts 10 at a time, and the next one is half a second later.
    max_jobs = 100
    poll_delay = 0.1
