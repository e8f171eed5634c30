"""Which sessions a call works with, in every design; the others are refused at once, by name, and nothing is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from duetime import registry
from duetime.errors import BadNotification, JoinedTransaction, UnusableSession
from duetime.interface import Design, Notification, Scheduler
from duetime.settings import Settings

NOTE = Notification(
    key="a", revision=1, kind="test", recipient="a@b.example", due_at=datetime.now(UTC) + timedelta(minutes=5)
)
Schedulers = list[tuple[Design, Scheduler]]


@pytest.fixture
def schedulers(settings: Settings, engine: Engine) -> Schedulers:
    """Each registered design and its scheduler, installed in one database."""
    designs = [registry.load(name) for name in registry.names() if name not in INSTALLED_OTHERWISE]
    for design in designs:
        design.install(engine)
    return [(design, design.scheduler(settings)) for design in designs]


INSTALLED_OTHERWISE = {"push_readmodel:partitioned"}
"""Of another layout than the table of the same name, and with the same scheduler."""


@pytest.fixture
def pending(schedulers: Schedulers, settings: Settings, engine: Engine) -> Callable[[], list[str]]:
    return lambda: sorted({one.op for design, _ in schedulers for one in design.pending(settings, engine)})


def refuse(schedulers: Schedulers, session: Any, message: str) -> None:
    """Check that schedule, schedule_many and cancel of every design refuse `session` with `message`."""
    for _, scheduler in schedulers:
        with pytest.raises(UnusableSession, match=message):
            scheduler.schedule(NOTE, session=session)
        with pytest.raises(UnusableSession, match=message):
            scheduler.schedule_many([NOTE], session=session)
        with pytest.raises(UnusableSession, match=message):
            scheduler.cancel(NOTE.key, revision=2, session=session)


def test_what_is_no_session_is_refused_with_the_word_to_write(
    schedulers: Schedulers, engine: Engine, pending: Callable[[], list[str]]
) -> None:
    with engine.connect() as connection:
        refuse(schedulers, connection, r"of type Connection; write Session\(connection\)")
    refuse(schedulers, engine, r"of type Engine; write Session\(engine\)")
    refuse(schedulers, sessionmaker(engine), r"of type sessionmaker; call it")
    refuse(schedulers, None, r"None of type NoneType; write a sqlalchemy.orm.Session")

    assert pending() == []


def test_a_session_whose_commit_is_not_the_acknowledgement_is_refused(
    schedulers: Schedulers, engine: Engine, pending: Callable[[], list[str]]
) -> None:
    autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
    with Session(autocommit) as session:
        refuse(schedulers, session, "AUTOCOMMIT, so a call would take effect without its commit")
    with Session(engine) as session:
        session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
        refuse(schedulers, session, "AUTOCOMMIT")
    with Session(engine, twophase=True) as session:
        refuse(schedulers, session, "twophase=True, and PostgreSQL cannot prepare")

    assert pending() == []


def test_a_session_that_cannot_begin_a_transaction_is_refused(schedulers: Schedulers, engine: Engine) -> None:
    closed = Session(engine, close_resets_only=False)
    closed.close()
    refuse(schedulers, closed, "cannot begin a transaction: .*closed")
    refuse(schedulers, Session(), "cannot begin a transaction: .*bind")
    with Session(create_engine("sqlite://")) as session:
        refuse(schedulers, session, "connected to sqlite; write one of the PostgreSQL database")


def test_an_argument_of_a_cancel_is_refused_by_every_design(schedulers: Schedulers, engine: Engine) -> None:
    with Session(engine) as session:
        for _, scheduler in schedulers:
            wrong: list[tuple[str, Any]] = [("cafe\u0301", 2), ("", 2), ("a", 0), ("a", "2")]
            for key, revision in wrong:
                with pytest.raises(BadNotification):
                    scheduler.cancel(key, revision=revision, session=session)


def test_a_scoped_session_a_reset_session_and_one_of_a_connection_work(
    schedulers: Schedulers, engine: Engine, pending: Callable[[], list[str]]
) -> None:
    scoped = scoped_session(sessionmaker(engine))
    reset = Session(engine)
    reset.close()
    with engine.connect() as connection:
        sessions: list[Any] = [scoped, reset, Session(connection)]
        for number, session in enumerate(sessions):
            for _, scheduler in schedulers:
                scheduler.schedule(replace(NOTE, key=f"k{number}"), session=session)
            session.commit()
            session.close()

    assert pending() == ["k0/1", "k1/1", "k2/1"]


def test_a_session_that_joins_a_begun_transaction_is_refused_where_a_commit_is_followed(
    schedulers: Schedulers, engine: Engine
) -> None:
    """As docs/contract.md and the refusal of a Connection say."""
    refusing = set()
    for design, scheduler in schedulers:
        with engine.connect() as connection, connection.begin(), Session(connection) as session:
            try:
                scheduler.schedule(NOTE, session=session)
                session.commit()
            except JoinedTransaction:
                refusing.add(design.name)
    with engine.connect() as connection:
        refuse(schedulers, connection, "designs that publish after the commit also need the session to begin")

    assert refusing == {f"oban_style_queue{variant}" for variant in ("", ":hardened", ":soft_shutdown")}


def test_an_async_session_is_refused_by_name_and_works_with_the_awaited_calls(
    schedulers: Schedulers, settings: Settings, engine: Engine, pending: Callable[[], list[str]]
) -> None:
    async def calls() -> None:
        async_engine = create_async_engine(settings.database_url)
        async with AsyncSession(async_engine) as session:
            refuse(schedulers, session, r"of type AsyncSession; write `await notifications.schedule_async\(")
            refuse(schedulers, session.sync_session, "outside its run_sync; write `await")
            async with async_engine.connect() as connection:
                refuse(schedulers, connection, "of type AsyncConnection; write an AsyncSession and schedule_async")
            for design, scheduler in schedulers:
                await scheduler.schedule_async(NOTE, session=session)
                if design.guarantees.cancels and design.guarantees.transactional:
                    await scheduler.schedule_async(replace(NOTE, key="cancelled"), session=session)
                    await scheduler.cancel_async("cancelled", revision=2, session=session)
            await session.commit()
            for _, scheduler in schedulers:
                await scheduler.schedule_async(replace(NOTE, key="rolled back"), session=session)
            await session.rollback()
        await async_engine.dispose()

    asyncio.run(calls())

    assert pending() == ["a/1"]
