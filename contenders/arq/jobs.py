"""The worker of the defaults, in the form of arq's tutorial: ``arq jobs.WorkerSettings``."""

import os

from arq.connections import RedisSettings
from httpx import AsyncClient, Limits


async def deliver(ctx, key, revision):
    body = {"key": key, "revision": revision, "worker": os.environ["DUETIME_WORKER"], "attempt": ctx["job_try"]}
    answer = await ctx["session"].post(os.environ["DUETIME_GATEWAY_URL"], json=body)
    answer.raise_for_status()


async def startup(ctx):
    # A connection for each request: the gateway may have closed an idle one. The timeout is that of the job.
    ctx["session"] = AsyncClient(timeout=None, limits=Limits(max_keepalive_connections=0))


async def shutdown(ctx):
    await ctx["session"].aclose()


class WorkerSettings:
    functions = (deliver,)
    on_startup = startup
    on_shutdown = shutdown
    redis_settings = RedisSettings.from_dsn(os.environ["REDIS_URL"])
    allow_abort_jobs = True  # without it, Job.abort() has no effect
