"""The read model: what a commit leaves in it, and what a drain makes of that."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy import Engine, insert, select
from sqlalchemy.orm import Session

from duetime.errors import BadUsage
from duetime.interface import Notification
from push_readmodel import drain as drain_module
from push_readmodel import drain_loop as loop_module
from push_readmodel.clock import DatabaseClock
from push_readmodel.drain import CLAIM, DELETE, LOOK, PUT_BACK, Batch, Drain, Look, connect, drain
from push_readmodel.drain_loop import DrainLoop
from push_readmodel.drain_settings import DrainSettings
from push_readmodel.scheduler import ReadModel
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


def row(key: str) -> dict[str, object]:
    """A row as schedule() writes it."""
    return {
        "key": key,
        "revision": 1,
        "kind": "test",
        "recipient": "a@b.example",
        "payload": {},
        "due_at": PAST,
        "attempt_at": PAST,
    }


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


def test_what_is_scheduled_together_is_stored_together_and_the_newest_of_each_key(engine: Engine) -> None:
    with Session(engine) as session:
        many = [note("b", revision=2), note("a"), note("b", revision=3), note("b", revision=1)]
        ReadModel().schedule_many(many, session=session)
        ReadModel().schedule_many([], session=session)
        session.commit()

    assert stored(engine) == ["a/1", "b/3"]


def test_a_drain_delivers_what_is_due_in_due_order_batch_after_batch(engine: Engine) -> None:
    schedule(engine, *(note(f"k{number}", due_at=PAST - timedelta(days=number)) for number in range(5)))
    schedule(engine, note("later", due_at=FAR))
    box = Box()

    assert drain(engine, box, policy=DrainSettings(batch_most=2)) == 5

    assert box.ops == ["k4/1", "k3/1", "k2/1", "k1/1", "k0/1"]
    assert stored(engine) == ["later/1"]


def test_a_failed_delivery_waits_for_its_own_next_attempt_and_takes_nobody_with_it(engine: Engine) -> None:
    schedule(engine, note("a"), note("bad", recipient="bad@b.example"), note("c"))
    box = Box(refuse="bad@b.example")

    with closing(Drain(connect(engine), box)) as draining:
        arrived, left = draining.drain_all()

    assert sorted(box.ops) == ["a/1", "c/1"]
    assert arrived == 2
    with engine.connect() as connection:
        row = connection.execute(select(pending)).one()
    assert (row.key, row.attempts, row.last_error) == ("bad", 1, "ConnectionError: mailbox unavailable")
    assert not left.due
    assert left.next_s is not None
    assert 0 < left.next_s - left.now_s <= 1


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("not even a word")


@pytest.mark.parametrize(
    "error", [Mute(), ValueError("half \ud800, nothing \0, " + "long" * 1000)], ids=["mute", "odd"]
)
def test_whatever_a_gateway_raises_can_be_kept(engine: Engine, error: Exception) -> None:
    class Broken:
        def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
            raise error

    schedule(engine, note("a"))

    assert drain(engine, Broken()) == 0

    with engine.connect() as connection:
        assert connection.execute(select(pending.c.last_error)).scalar_one().startswith(type(error).__name__)


def test_two_drains_never_hold_the_same_row(engine: Engine) -> None:
    schedule(engine, *(note(f"k{number}") for number in range(7)))
    other = Box()

    class Meanwhile(Box):
        """While this delivers its first, another drain comes by."""

        def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
            if not self.ops:
                drain(engine, other)
            super().deliver(notification, attempt=attempt)

    box = Meanwhile()
    drain(engine, box)

    assert len(other.ops) == 6
    assert sorted(box.ops + other.ops) == [f"k{number}/1" for number in range(7)]
    assert stored(engine) == []


@pytest.mark.parametrize(("takes_s", "least", "most"), [(0.0, 20, 200), (0.01, 2, 6), (0.06, 1, 1)], ids="{}".format)
def test_a_batch_is_as_large_as_the_gateway_is_quick(engine: Engine, takes_s: float, least: int, most: int) -> None:
    """What is delivered and not yet deleted is what a crash would repeat."""
    schedule(engine, *(note(f"k{number:03}") for number in range(600 if takes_s == 0 else 20)))
    sizes = []

    class Slow(Box):
        def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
            if takes_s:
                time.sleep(takes_s)
            super().deliver(notification, attempt=attempt)

    class Noted(Drain):
        def _settle(self, batch: Batch | None) -> None:
            sizes.append(len(batch.delivered) if batch else 0)
            super()._settle(batch)

    with closing(Noted(connect(engine), Slow(), DrainSettings(batch_most=200))) as draining:
        draining.drain_all()

    assert least <= max(sizes) <= most


def test_a_gateway_that_gets_slow_in_the_middle_of_a_batch_cuts_it_short(engine: Engine) -> None:
    schedule(engine, *(note(f"k{number:03}") for number in range(300)))
    left = []

    class Slower(Box):
        def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
            super().deliver(notification, attempt=attempt)
            if len(self.ops) > 150:
                time.sleep(0.06)
                left.append(300 - len(self.ops) - len(stored(engine)))
            if len(self.ops) == 155:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drain(engine, Slower())

    # Delivered and still there: the batch under way when it got slow, and then one by one.
    assert left[1:] == [-1, -1, -1, -1]
    assert len(stored(engine)) == 300 - 154


def test_a_row_that_comes_in_behind_the_low_water_mark_is_found_in_the_same_drain(engine: Engine) -> None:
    schedule(engine, *(note(f"k{number}", due_at=PAST + timedelta(days=number)) for number in range(10)))

    class Late(Box):
        def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
            super().deliver(notification, attempt=attempt)
            if len(self.ops) == 8:
                schedule(engine, note("behind", due_at=PAST - timedelta(days=1)))

    box = Late()
    assert drain(engine, box, policy=DrainSettings(batch_most=3)) == 11
    assert set(box.ops) >= {"behind/1"}


def test_with_look_ahead_rows_are_held_before_they_are_due_and_delivered_when_they_are(engine: Engine) -> None:
    due_at = datetime.now(UTC) + timedelta(seconds=0.6)
    schedule(engine, note("a", due_at=due_at), note("b", due_at=due_at + timedelta(seconds=0.1)))
    came = []

    class Stamped(Box):
        def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
            came.append((datetime.now(UTC) - notification.due_at).total_seconds())
            super().deliver(notification, attempt=attempt)

    assert drain(engine, Stamped(), policy=DrainSettings(look_ahead_s=1.0)) == 2

    assert stored(engine) == []
    assert all(0 <= late_s < 0.1 for late_s in came), came


def test_of_the_readings_of_a_clock_the_quickest_counts_and_the_others_let_it_drift() -> None:
    clock, when = DatabaseClock(), datetime.fromtimestamp(1000, UTC)
    for shown, age_s in ((0.0, 0.003), (1.0, 0.001), (2.0, 0.0025)):
        clock.read(shown, shown + age_s)

    assert clock.at_s(when) == pytest.approx(1000.0012, abs=1e-5)


@pytest.mark.parametrize("by_s", [-0.5, -0.003, 0.5])
def test_a_clock_that_was_set_is_believed_at_once(by_s: float) -> None:
    clock, when = DatabaseClock(), datetime.fromtimestamp(1000, UTC)
    clock.read(0.0, 0.001)
    clock.read(1.0 + by_s, 1.001)

    assert clock.at_s(when) == pytest.approx(1000.001 - by_s)


def test_the_claim_walks_an_index_though_it_was_planned_while_the_table_was_empty(engine: Engine) -> None:
    """On the drain's own connection: prepared, and explained as it is kept."""
    statements = {
        "claim": (CLAIM % ("$1", "$2", "$3"), "timestamptz, interval, bigint", "'0001-01-01', '0', 10"),
        "look": (LOOK % {"ahead": "$1"}, "interval", "'0'"),
        "gone": (DELETE % "$1", "text", """'{"(0,1)","(0,2)"}'"""),
    }
    with closing(connect(engine)) as connection:
        for name, (statement, types, _) in statements.items():
            connection.execute(f"PREPARE {name} ({types}) AS {statement}")
        for full in (False, True):
            if full:
                schedule(engine, *(note(f"k{number}") for number in range(2000)))
            for name, (_, __, values) in statements.items():
                explained = connection.execute(f"EXPLAIN EXECUTE {name} ({values})").fetchall()
                plan = "\n".join(row[0] for row in explained)
                assert "Seq Scan" not in plan, (full, plan)
                assert "Sort" not in plan, (full, plan)


def test_a_notify_that_tells_nothing_makes_the_loop_look_and_hurts_nobody(engine: Engine) -> None:
    box = Box()
    with asleep_loop(engine, box):
        with engine.begin() as connection:
            connection.exec_driver_sql("NOTIFY pending_notifications")
        schedule(engine, note("now"))
        assert box.arrived.wait(timeout=20)


def test_what_was_put_back_is_tried_again_by_another_server_that_slept(engine: Engine) -> None:
    box = Box()
    with asleep_loop(engine, box):
        with engine.begin() as connection:
            # Unseen by the loop, as if another server had just claimed it.
            connection.execute(insert(pending).values(**row("a")))
            connection.exec_driver_sql("SELECT FROM pending_notifications FOR UPDATE")
            connection.exec_driver_sql(PUT_BACK, (timedelta(seconds=0.3), "refused", "(0,1)"))
        assert box.arrived.wait(timeout=20)

    assert box.attempts == [2]


def test_a_sleeping_loop_wakes_for_a_row_that_falls_due_before_the_one_it_waits_for(engine: Engine) -> None:
    schedule(engine, note("far", due_at=FAR))
    box = Box()
    with asleep_loop(engine, box):
        schedule(engine, note("now"))
        assert box.arrived.wait(timeout=20)

    assert box.ops == ["now/1"]
    assert stored(engine) == ["far/1"]


def test_a_loop_that_meets_anything_but_an_absent_database_ends_with_the_error(engine: Engine) -> None:
    metadata.drop_all(engine)

    with pytest.raises(psycopg.errors.UndefinedTable, match="pending_notifications"):
        DrainLoop(engine, Box()).run()


def test_a_drain_told_to_stop_ends_after_the_batch_under_way(engine: Engine) -> None:
    schedule(engine, *(note(f"k{number}") for number in range(6)))
    box = Box()

    assert drain(engine, box, policy=DrainSettings(batch_most=1), stopping=lambda: len(box.ops) >= 4) == 4


def test_a_claim_that_waited_behind_a_change_returns_the_row_as_it_is_now(engine: Engine) -> None:
    """The claim's snapshot is older than the change; what it returns must not be."""
    schedule(engine, note("a", revision=1))
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION slowly(timestamptz) RETURNS timestamptz LANGUAGE sql VOLATILE AS "
            "'SELECT $1 FROM pg_sleep(0.5)'"
        )
    # The same claim, with half a second between its snapshot and its locks.
    slow_claim = CLAIM.replace("ORDER BY", "AND slowly(due_at) <= clock_timestamp() ORDER BY")
    assert slow_claim != CLAIM
    claimed: list[int] = []

    def claim_slowly() -> None:
        with closing(connect(engine)) as connection:
            rows = connection.execute(slow_claim, (drain_module.EPOCH, timedelta(), 5)).fetchall()
            claimed.extend(revision for _, _, _, _, _, revision, *_ in rows)

    thread = threading.Thread(target=claim_slowly)
    thread.start()
    wait_until(lambda: is_running(engine, "slowly"))
    schedule(engine, note("a", revision=2))
    thread.join(timeout=10)

    assert claimed == [2]


def test_several_deliveries_at_a_time_and_one_that_hangs_holds_up_no_other(engine: Engine) -> None:
    may_end = threading.Event()

    class Hanging(Box):
        def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
            if notification.key == "hangs":
                assert may_end.wait(timeout=10)
            super().deliver(notification, attempt=attempt)

    class Counted(Drain):
        def look(self, batch: Batch | None = None) -> Look:
            looks.append(1)
            return super().look(batch)

    looks: list[int] = []
    box = Hanging()
    with ThreadPoolExecutor(max_workers=2) as pool:
        loop = DrainLoop(engine, box, Counted, policy=DrainSettings(threads=2), submit=pool.submit)
        thread = threading.Thread(target=loop.run)
        thread.start()
        try:
            schedule(engine, note("hangs"))
            schedule(engine, note("later", due_at=datetime.now(UTC) + timedelta(seconds=0.5)))
            wait_until(lambda: box.ops == ["later/1"])
            looked = len(looks)
            time.sleep(1.0)
            # The row that is held is looked at again every 0.25 s, not all the time.
            assert len(looks) - looked <= 12
            may_end.set()
            wait_until(lambda: box.ops == ["later/1", "hangs/1"])
            wait_until(lambda: stored(engine) == [])
        finally:
            may_end.set()
            loop.stop()
            thread.join(timeout=5)


def test_of_idle_loops_one_wakes_for_what_falls_due_and_the_others_a_moment_later(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_module, "STAND_BY_S", 5.0)
    boxes = [Box() for _ in range(4)]
    loops = [DrainLoop(engine, box) for box in boxes]
    threads = [threading.Thread(target=loop.run) for loop in loops]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: asleep(engine) == 4)
        for number in range(20):
            schedule(engine, note(f"k{number}", due_at=datetime.now(UTC) + timedelta(seconds=0.05)))
            wait_until(lambda: stored(engine) == [])
    finally:
        for loop in loops:
            loop.stop()
        for thread in threads:
            thread.join(timeout=5)

    assert sorted(len(box.ops) for box in boxes) == [0, 0, 0, 20]


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ({"DUETIME_THREADS": "0"}, "from 1"),
        ({"DUETIME_BATCH_MOST": "many"}, "many"),
        ({"DUETIME_LOOK_AHEAD_S": "nan"}, "nan"),
    ],
    ids="{}".format,
)
def test_a_policy_that_makes_no_sense_is_refused_by_name(written: dict[str, str], says: str) -> None:
    with pytest.raises(BadUsage, match=says):
        DrainSettings.from_environment(written)


@contextmanager
def asleep_loop(engine: Engine, box: Box) -> Iterator[None]:
    """A loop that delivers to `box`, from its first sleep on."""
    loop = DrainLoop(engine, box)
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        wait_until(lambda: asleep(engine) == 1)
        yield
    finally:
        loop.stop()
        thread.join(timeout=5)


def asleep(engine: Engine) -> int:
    """How many loops have had their look, and asked to lead."""
    return activity(engine, "state = 'idle' AND query LIKE '%%pg_try_advisory_lock%%'")


def is_running(engine: Engine, what: str) -> bool:
    return bool(activity(engine, f"state = 'active' AND query LIKE '%%{what}(%%' AND query NOT LIKE '%%pg_stat%%'"))


def activity(engine: Engine, condition: str) -> int:
    with engine.connect() as connection:
        query = f"SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND {condition}"
        return int(connection.exec_driver_sql(query).scalar_one())


def wait_until(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)
