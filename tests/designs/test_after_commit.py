"""The hook for designs that publish: what runs after the outermost commit, and in which order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.orm.session import JoinTransactionMode
from sqlalchemy.pool import NullPool

from duetime.after_commit import after_commit
from duetime.app.tables import Trial, User
from duetime.errors import JoinedTransaction, ScheduleRejected, UnusableSession

DIVISION_BY_ZERO = text("SELECT 1 / 0")
DEFERRED = text("CREATE TABLE late_check (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)")


class Ran(list[str]):
    """The names of the actions that ran, in their order."""

    def action(self, name: str) -> Callable[[], None]:
        return lambda: self.append(name)


@pytest.fixture
def ran() -> Ran:
    return Ran()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with Session(engine) as session:
        yield session


def test_actions_run_in_their_order_across_savepoints(session: Session, ran: Ran) -> None:
    after_commit(session, ran.action("1"))
    with session.begin_nested():
        after_commit(session, ran.action("2"))
        with session.begin_nested():
            after_commit(session, ran.action("3"))
        after_commit(session, ran.action("4"))
    after_commit(session, ran.action("5"))
    assert ran == []
    session.commit()
    session.commit()

    assert ran == ["1", "2", "3", "4", "5"]


def test_a_savepoint_that_is_still_open_is_committed_with_the_transaction(session: Session, ran: Ran) -> None:
    session.begin_nested()
    session.begin_nested()
    after_commit(session, ran.action("open"))
    session.commit()

    assert ran == ["open"]


def test_an_error_in_a_savepoint_drops_its_actions_and_the_transaction_goes_on(session: Session, ran: Ran) -> None:
    after_commit(session, ran.action("before"))
    with pytest.raises(DBAPIError), session.begin_nested():
        after_commit(session, ran.action("failed"))
        session.execute(DIVISION_BY_ZERO)
    session.commit()

    assert ran == ["before"]


def test_a_flush_that_fails_in_a_savepoint_drops_its_actions(session: Session, ran: Ran) -> None:
    session.add(User(id=1, name="user", address="1@example.org"))
    session.commit()
    session.expunge_all()
    after_commit(session, ran.action("before"))
    with pytest.raises(IntegrityError), session.begin_nested():
        after_commit(session, ran.action("failed"))
        session.add(User(id=1, name="the same", address="1@example.org"))
        # A query flushes first.
        session.get(Trial, 1)
        session.execute(text("SELECT 1"))
        session.query(User).all()
    session.commit()

    assert ran == ["before"]


def test_an_action_added_during_a_flush_belongs_to_the_savepoint_around_it(session: Session, ran: Ran) -> None:
    event.listen(session, "after_flush", lambda *_: after_commit(session, ran.action("flushed")))
    with session.begin_nested() as savepoint:
        session.add(User(id=1, name="user", address="1@example.org"))
        session.flush()
        savepoint.rollback()
    with session.begin_nested():
        session.add(User(id=2, name="user", address="2@example.org"))
    session.commit()

    assert ran == ["flushed"]


@pytest.mark.parametrize("end", [Session.rollback, Session.close, Session.reset, Session.invalidate])
def test_a_transaction_that_ends_without_a_commit_drops_all_and_the_session_can_be_used_again(
    session: Session, ran: Ran, end: Callable[[Session], None]
) -> None:
    after_commit(session, ran.action("transaction"))
    session.begin_nested()
    after_commit(session, ran.action("savepoint"))
    end(session)
    session.commit()
    after_commit(session, ran.action("next"))
    session.commit()

    assert ran == ["next"]


def test_a_commit_that_fails_runs_nothing(session: Session, ran: Ran) -> None:
    session.execute(DEFERRED)
    session.commit()
    session.execute(text("INSERT INTO late_check VALUES (1), (1)"))
    after_commit(session, ran.action("failed"))
    with pytest.raises(IntegrityError):
        session.commit()
    session.rollback()
    session.commit()

    assert ran == []


def test_an_action_that_raises_ends_the_others_and_leaves_a_usable_session(session: Session, ran: Ran) -> None:
    def fail() -> None:
        raise ConnectionError("no broker")

    session.add(User(id=1, name="user", address="1@example.org"))
    for action in (ran.action("first"), fail, ran.action("third"), ran.action("fourth")):
        after_commit(session, action)
    with pytest.raises(ConnectionError, match="no broker") as failed:
        session.commit()

    assert failed.value.__notes__ == ["the transaction is committed; 2 further actions after it did not run"]
    assert ran == ["first"]
    assert session.get(User, 1) is not None
    after_commit(session, ran.action("next"))
    session.commit()
    assert ran == ["first", "next"]


def test_an_action_may_use_the_session_commit_it_and_add_actions(session: Session, ran: Ran) -> None:
    def write() -> None:
        after_commit(session, ran.action("added"))
        after_commit(session, lambda: after_commit(session, ran.action("added by an added one")))
        session.add(User(id=1, name="user", address="1@example.org"))
        after_commit(session, ran.action("after the commit in the action"))
        session.commit()

    after_commit(session, write)
    after_commit(session, ran.action("second"))
    session.commit()
    session.rollback()

    assert ran == ["after the commit in the action", "second", "added", "added by an added one"]
    assert session.get(User, 1) is not None


@pytest.mark.parametrize("mode", ["conditional_savepoint", "create_savepoint", "rollback_only"])
def test_a_session_whose_commit_does_not_commit_is_refused(engine: Engine, ran: Ran, mode: JoinTransactionMode) -> None:
    with engine.connect() as connection, connection.begin():
        with Session(connection, join_transaction_mode=mode) as session:
            with pytest.raises(ScheduleRejected, match=r"write Session\(engine\)"):
                after_commit(session, ran.action("joined"))
                session.commit()
            session.commit()
        assert connection.in_transaction()

    assert ran == []


def test_a_session_in_a_savepoint_of_its_connection_is_refused_at_once(engine: Engine, ran: Ran) -> None:
    with (
        engine.connect() as connection,
        connection.begin(),
        connection.begin_nested(),
        Session(connection) as session,
        pytest.raises(JoinedTransaction),
    ):
        after_commit(session, ran.action("joined"))
    with Session(engine) as session, session.connection().begin_nested(), pytest.raises(JoinedTransaction):
        after_commit(session, ran.action("savepoint that the session does not see"))

    assert ran == []


def test_a_session_that_commits_the_transaction_of_its_connection_is_accepted(engine: Engine, ran: Ran) -> None:
    with engine.connect() as connection:
        with Session(connection) as session:
            after_commit(session, ran.action("began it"))
            session.commit()
        connection.begin()
        with Session(connection, join_transaction_mode="control_fully") as session:
            after_commit(session, ran.action("controls it"))
            session.commit()
        assert not connection.in_transaction()

    assert ran == ["began it", "controls it"]


def test_a_scoped_session_runs_each_action_once(engine: Engine, ran: Ran) -> None:
    sessions = scoped_session(sessionmaker(engine))
    for number in range(3):
        after_commit(sessions, ran.action(f"{number}"))
        sessions.commit()
        sessions.remove()

    assert ran == ["0", "1", "2"]


def test_an_async_session_is_refused_before_a_coroutine_is_left_unawaited(ran: Ran) -> None:
    with pytest.raises(UnusableSession, match="not AsyncSession; with an AsyncSession call it inside of run_sync"):
        after_commit(cast("Session", AsyncSession()), ran.action("never"))


def test_an_async_session_may_call_it_inside_of_run_sync(engine: Engine, ran: Ran) -> None:
    async def work() -> None:
        asynchronous = create_async_engine(engine.url, poolclass=NullPool)
        async with AsyncSession(asynchronous) as session:
            await session.run_sync(lambda inside: after_commit(inside, ran.action("outside a savepoint")))
            async with session.begin_nested() as savepoint:
                await session.run_sync(lambda inside: after_commit(inside, ran.action("rolled back")))
                await savepoint.rollback()
            await session.commit()

    asyncio.run(work())

    assert ran == ["outside a savepoint"]


def test_sessions_of_several_threads_do_not_see_one_another(engine: Engine) -> None:
    together = threading.Barrier(4)

    def work(thread: int) -> Ran:
        ran = Ran()
        together.wait(timeout=30)
        with Session(engine) as session:
            for number in range(20):
                with session.begin_nested() as savepoint:
                    after_commit(session, ran.action(f"{thread}/{number}"))
                    if number % 2:
                        savepoint.rollback()
                if number % 5 == 4:
                    session.commit()
        return ran

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(work, range(4)))

    assert results == [[f"{thread}/{number}" for number in range(0, 20, 2)] for thread in range(4)]
