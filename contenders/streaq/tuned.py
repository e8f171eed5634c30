"""The tuned worker: ``streaq run tuned:worker``."""

import os

import coredis
from httpx import HTTPError
from jobs import lifespan, post
from streaq import StreaqRetry, Worker

coredis.Config.optimized = True  # fewer checks in the Redis client
worker = Worker(
    redis_url=os.environ["REDIS_URL"],
    lifespan=lifespan,
    idle_timeout=3,
    grace_period=5,
    anyio_kwargs={"use_uvloop": True},
)


@worker.task(max_tries=20)
async def deliver(key: str, revision: int) -> None:
    try:
        await post(worker.context.session, key, revision, deliver.context.tries)
    except HTTPError as error:
        raise StreaqRetry("no answer", delay=1) from error
