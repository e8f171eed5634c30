"""The read model: what a commit leaves in it, and what a drain makes of that."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from duetime.interface import Notification
from push_readmodel.deliver import claim_due, claim_statement, drain, seconds_until_next
from push_readmodel.loop import DrainLoop
from push_readmodel.schedule import ReadModel
from push_readmodel.schema import metadata, pending

PAST = datetime(2020, 1, 1, tzinfo=UTC)
FAR = datetime(2100, 1, 1, tzinfo=UTC)


class Box:
    """A gateway that keeps what it is given, refuses some recipients, and can be waited for."""

    def __init__(self, refuse: str = "") -> None:
        self.ops: list[str] = []
        self.attempts: list[int] = []
        self._refuse = refuse
        self.arrived = threading.Event()

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        self.attempts.append(attempt)
        if notification.recipient == self._refuse:
            raise ConnectionError("mailbox unavailable")
        self.ops.append(notification.op)
        self.arrived.set()


@pytest.fixture(autouse=True)
def _table(engine: Engine) -> None:
    metadata.create_all(engine)


def note(key: str, *, revision: int = 1, due_at: datetime = PAST, recipient: str = "a@b.example") -> Notification:
    return Notification(key=key, revision=revision, kind="test", recipient=recipient, due_at=due_at)


def schedule(engine: Engine, *notifications: Notification) -> None:
    with Session(engine) as session:
        for notification in notifications:
            ReadModel().schedule(notification, session=session)
        session.commit()


def cancel(engine: Engine, key: str, *, revision: int) -> None:
    with Session(engine) as session:
        ReadModel().cancel(key, revision=revision, session=session)
        session.commit()


def stored(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        rows = connection.execute(select(pending.c.key, pending.c.revision).order_by(pending.c.key))
        return [f"{row.key}/{row.revision}" for row in rows]


def test_what_is_rolled_back_was_never_scheduled(engine: Engine) -> None:
    with Session(engine) as session:
        ReadModel().schedule(note("a"), session=session)
        session.rollback()

    assert stored(engine) == []


def test_the_newer_revision_wins_in_either_order(engine: Engine) -> None:
    schedule(engine, note("a", revision=1), note("a", revision=2))
    schedule(engine, note("b", revision=2), note("b", revision=1))

    assert stored(engine) == ["a/2", "b/2"]


def test_a_cancel_removes_older_revisions_and_spares_newer_ones(engine: Engine) -> None:
    schedule(engine, note("a", revision=1), note("b", revision=3))

    cancel(engine, "a", revision=2)
    cancel(engine, "b", revision=2)

    assert stored(engine) == ["b/3"]


def test_a_drain_delivers_what_is_due_in_due_order_batch_after_batch(engine: Engine) -> None:
    schedule(engine, *(note(f"k{number}", due_at=PAST - timedelta(days=number)) for number in range(5)))
    schedule(engine, note("later", due_at=FAR))
    box = Box()

    assert drain(engine, box, batch=2) == 5

    assert box.ops == ["k4/1", "k3/1", "k2/1", "k1/1", "k0/1"]
    assert stored(engine) == ["later/1"]


def test_a_failed_delivery_waits_for_its_own_next_attempt_and_takes_nobody_with_it(engine: Engine) -> None:
    schedule(engine, note("a"), note("bad", recipient="bad@b.example"), note("c"))
    box = Box(refuse="bad@b.example")

    assert drain(engine, box) == 2

    assert box.ops == ["a/1", "c/1"]
    with engine.connect() as connection:
        row = connection.execute(select(pending)).one()
        wait_s = seconds_until_next(connection)
    assert (row.key, row.attempts, row.last_error) == ("bad", 1, "ConnectionError: mailbox unavailable")
    assert wait_s is not None
    assert 0 < wait_s <= 1


def test_two_claims_never_hold_the_same_row_and_no_claim_exceeds_its_limit(engine: Engine) -> None:
    schedule(engine, *(note(f"k{number}") for number in range(7)))

    with engine.begin() as one, engine.begin() as other:
        first = {row.key for row in claim_due(one, limit=3)}
        second = {row.key for row in claim_due(other, limit=3)}
        third = {row.key for row in claim_due(one, limit=3)}

    assert len(first) == len(second) == 3
    assert first.isdisjoint(second)
    assert third == first  # its own rows are not locked against it, and the limit still holds


def test_a_sleeping_loop_wakes_for_a_row_that_falls_due_before_the_one_it_waits_for(engine: Engine) -> None:
    schedule(engine, note("far", due_at=FAR))
    box = Box()
    loop = DrainLoop(engine, box)
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        wait_until(lambda: is_asleep(engine))
        schedule(engine, note("now"))
        assert box.arrived.wait(timeout=5)
    finally:
        loop.stop()
        thread.join(timeout=5)

    assert box.ops == ["now/1"]
    assert stored(engine) == ["far/1"]


def test_a_loop_that_meets_anything_but_an_absent_database_ends_with_the_error(engine: Engine) -> None:
    metadata.drop_all(engine)

    with pytest.raises(ProgrammingError, match="pending_notifications"):
        DrainLoop(engine, Box()).run()


def test_a_drain_told_to_stop_ends_after_the_batch_under_way(engine: Engine) -> None:
    schedule(engine, *(note(f"k{number}") for number in range(6)))
    box = Box()

    assert drain(engine, box, batch=2, stopping=lambda: len(box.ops) >= 4) == 4


def test_a_claim_that_waited_behind_a_change_returns_the_row_as_it_is_now(engine: Engine) -> None:
    """The claim's snapshot is older than the change; what it returns must not be."""
    schedule(engine, note("a", revision=1))
    slow = (
        "CREATE FUNCTION slowly(timestamptz) RETURNS timestamptz LANGUAGE sql VOLATILE AS "
        "'SELECT $1 FROM pg_sleep(0.5)'"
    )
    with engine.begin() as connection:
        connection.exec_driver_sql(slow)
    claimed: list[int] = []

    def claim_slowly() -> None:
        with engine.begin() as connection:
            # The same claim, with half a second between its snapshot and its locks.
            due = claim_statement(limit=5).where(func.slowly(pending.c.due_at) <= func.clock_timestamp())
            claimed.extend(row.revision for row in connection.execute(due))

    thread = threading.Thread(target=claim_slowly)
    thread.start()
    wait_until(lambda: is_running(engine, "slowly"))
    schedule(engine, note("a", revision=2))
    thread.join(timeout=10)

    assert claimed == [2]


def is_asleep(engine: Engine) -> bool:
    """Whether the loop's listening connection has had its look and waits."""
    return activity(engine, "state = 'idle' AND query LIKE '%%EXTRACT(epoch%%'")


def is_running(engine: Engine, what: str) -> bool:
    return activity(engine, f"state = 'active' AND query LIKE '%%{what}(%%' AND query NOT LIKE '%%pg_stat%%'")


def activity(engine: Engine, condition: str) -> bool:
    with engine.connect() as connection:
        query = f"SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND {condition}"
        return bool(connection.exec_driver_sql(query).scalar_one())


def wait_until(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)
