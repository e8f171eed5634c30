"""Libraries with asynchronous clients are called from a synchronous ``schedule()``."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from functools import partial

import pytest
import redis.asyncio
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime.after_commit import after_commit
from duetime.asynchronous import LoopThread, run_to_end
from duetime.settings import Settings


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    running = LoopThread()
    yield running
    running.close()


def test_a_client_that_keeps_connections_is_used_after_each_commit(
    loop: LoopThread, engine: Engine, settings: Settings
) -> None:
    async def connected() -> redis.asyncio.Redis:
        return redis.asyncio.Redis.from_url(settings.broker_url, decode_responses=True)

    def push(job: str) -> None:
        loop.run(client.rpush("jobs", job))

    client = loop.run(connected())
    for job in ("a", "b"):
        with Session(engine) as session:
            after_commit(session, partial(push, job))
            session.commit()

    assert loop.run(client.lrange("jobs", 0, -1)) == ["a", "b"]
    loop.run(client.aclose())


def test_an_error_of_the_coroutine_is_raised_to_the_caller(loop: LoopThread) -> None:
    async def fail() -> None:
        raise ValueError("no such queue")

    with pytest.raises(ValueError, match="no such queue"):
        loop.run(fail())


def test_what_takes_too_long_is_cancelled(loop: LoopThread) -> None:
    cancelled = threading.Event()

    async def wait_for_ever() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.raises(TimeoutError):
        loop.run(wait_for_ever(), within_s=0.05)
    assert cancelled.is_set()


def test_a_coroutine_over_a_synchronous_connection_runs_to_its_end() -> None:
    async def fetch(value: int) -> int:
        return value

    async def add() -> int:
        return await fetch(1) + await fetch(2)

    assert run_to_end(add()) == 3


def test_a_coroutine_that_waits_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"wait_a_moment.*use LoopThread"):
        run_to_end(wait_a_moment())


async def wait_a_moment() -> None:
    await asyncio.sleep(0)
