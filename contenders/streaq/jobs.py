"""The worker of the defaults, in the form of streaQ's tutorial: ``streaq run jobs:worker``."""

import os
from contextlib import asynccontextmanager
from typing import NamedTuple

from httpx import AsyncClient, Limits
from streaq import Worker


class WorkerContext(NamedTuple):
    session: AsyncClient


@asynccontextmanager
async def lifespan():
    # A connection for each request: the gateway may have closed an idle one. The timeout is that of the task.
    async with AsyncClient(timeout=None, limits=Limits(max_keepalive_connections=0)) as session:
        yield WorkerContext(session)


worker = Worker(redis_url=os.environ["REDIS_URL"], lifespan=lifespan)


@worker.task
async def deliver(key: str, revision: int) -> None:
    await post(worker.context.session, key, revision, deliver.context.tries)


async def post(session, key, revision, attempt):
    body = {"key": key, "revision": revision, "worker": os.environ["DUETIME_WORKER"], "attempt": attempt}
    answer = await session.post(os.environ["DUETIME_GATEWAY_URL"], json=body)
    answer.raise_for_status()
