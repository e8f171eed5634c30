"""The consumer: ``pgq run consumer:main`` with the defaults, ``pgq run consumer:tuned`` with retries."""

import asyncio
import json
import os
from contextlib import asynccontextmanager
from datetime import timedelta
from urllib.request import Request, urlopen

import asyncpg
from pgqueuer import DatabaseRetryEntrypointExecutor, PgQueuer
from pgqueuer.models import Job


@asynccontextmanager
async def main():
    pgq = PgQueuer.from_asyncpg_connection(await asyncpg.connect())  # libpq's variables name the database

    @pgq.entrypoint("deliver")
    async def deliver(job: Job) -> None:
        await asyncio.to_thread(post, job)

    print("consumer ready", flush=True)  # the library prints nothing at its start
    yield pgq


def retried(parameters):
    return DatabaseRetryEntrypointExecutor(
        parameters=parameters,
        max_attempts=20,
        initial_delay=timedelta(seconds=0.5),
        max_delay=timedelta(seconds=2),
    )


@asynccontextmanager
async def tuned():
    pgq = PgQueuer.from_asyncpg_connection(await asyncpg.connect())

    @pgq.entrypoint("deliver", executor_factory=retried, on_failure="hold")
    async def deliver(job: Job) -> None:
        await asyncio.to_thread(post, job)

    print("consumer ready", flush=True)
    yield pgq


def post(job):
    body = {**json.loads(job.payload), "worker": os.environ["DUETIME_WORKER"], "attempt": job.attempts + 1}
    urlopen(Request(os.environ["DUETIME_GATEWAY_URL"], json.dumps(body).encode())).close()
