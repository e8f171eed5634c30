"""The worker of the defaults, in the form of SAQ's README: ``saq jobs.settings``."""

import os

from httpx import AsyncClient, Limits
from saq import Queue


async def deliver(ctx, *, key, revision):
    body = {"key": key, "revision": revision, "worker": os.environ["DUETIME_WORKER"], "attempt": ctx["job"].attempts}
    answer = await ctx["session"].post(os.environ["DUETIME_GATEWAY_URL"], json=body)
    answer.raise_for_status()


async def startup(ctx):
    # A connection for each request: the gateway may have closed an idle one. The timeout is that of the job.
    ctx["session"] = AsyncClient(timeout=None, limits=Limits(max_keepalive_connections=0))


async def shutdown(ctx):
    await ctx["session"].aclose()


settings = {
    "queue": Queue.from_url(os.environ["DUETIME_DATABASE_DSN"]),
    "functions": [deliver],
    "startup": startup,
    "shutdown": shutdown,
}
