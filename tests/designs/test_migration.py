"""Swapping the design: no call is lost between the two sides, and nothing that was taken back is moved."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import redis
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from duetime import registry
from duetime.app.follow_ups import ASK_FOR_REVIEW, END_TRIAL, FollowUps
from duetime.app.tables import User
from duetime.app.use_cases import Application
from duetime.clock import system_clock
from duetime.errors import BadUsage
from duetime.interface import Notification, Scheduler
from duetime.migration import MigratingScheduler, NewDesignTarget, migrate, migration, migration_design, switch
from duetime.settings import Settings
from oban_style_queue.broker import held_task_ids
from oban_style_queue.scheduler import after_commit
from pull_worker.poll import window
from push_readmodel.drain import Drain, connect
from push_readmodel.migrate import migrate as rows_over
from push_readmodel.scheduler import ReadModel
from push_readmodel.schema import metadata
from tests.designs.read_model import RecordingGateway, schedule, stored

FAR = datetime(2100, 1, 1, tzinfo=UTC)
DESIGNS = ("pull_worker", "push_readmodel", "oban_style_queue")


class RecordingScheduler(Scheduler):
    """A scheduler that only records its calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def schedule(self, notification: Notification, *, session: Session) -> None:
        self.calls.append(f"schedule {notification.op}")

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        self.calls.append(f"cancel {key}/{revision}")


def note(key: str, revision: int = 1, *, due_at: datetime = FAR) -> Notification:
    return Notification(key=key, revision=revision, kind="test", recipient="a@b.example", due_at=due_at)


@pytest.fixture
def installed(settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    metadata.create_all(engine)
    migration_design(registry.load("push_readmodel"), registry.load("oban_style_queue")).install(engine)
    yield settings


NAME = "push_readmodel-to-oban_style_queue"


def test_calls_go_to_the_old_side_and_from_the_switch_on_to_the_new(installed: Settings, engine: Engine) -> None:
    old, new = RecordingScheduler(), RecordingScheduler()
    application = MigratingScheduler(NAME, old, new)
    with Session(engine) as session:
        application.schedule(note("a"), session=session)
        application.cancel("b", revision=2, session=session)
        session.commit()
        switch(engine, NAME)
        application.schedule(note("a", 2), session=session)
        application.cancel("b", revision=3, session=session)
        session.commit()

    assert old.calls == ["schedule a/1", "cancel b/2", "cancel a/2", "cancel b/3"]
    assert new.calls == ["schedule a/2", "cancel b/3"]


def test_the_switch_waits_for_a_transaction_that_is_still_on_the_old_side(installed: Settings, engine: Engine) -> None:
    switched = threading.Event()
    with Session(engine) as session:
        MigratingScheduler(NAME, RecordingScheduler(), RecordingScheduler()).schedule(note("a"), session=session)
        thread = threading.Thread(target=lambda: (switch(engine, NAME), switched.set()))
        thread.start()
        waited = not switched.wait(0.3)
        session.commit()
    thread.join()

    assert waited and switched.is_set()


def test_rows_move_except_those_that_a_server_holds_or_that_are_due_in_a_moment(
    installed: Settings, engine: Engine
) -> None:
    schedule(engine, note("far"), note("soon", due_at=system_clock()), note("held"))
    to = RecordingScheduler()
    with Session(engine) as holder:
        holder.connection().exec_driver_sql("SELECT FROM pending_notifications WHERE key = 'held' FOR UPDATE")
        moved = rows_over(installed, engine, NewDesignTarget(NAME, to), None)

    assert (moved, to.calls) == (1, ["schedule far/1"])
    assert stored(engine) == ["held/1", "soon/1"]


def test_what_cannot_be_published_there_stays(installed: Settings, engine: Engine) -> None:
    def fail() -> None:
        raise ConnectionError("no broker")

    class Broken(RecordingScheduler):
        def schedule(self, notification: Notification, *, session: Session) -> None:
            after_commit(session, fail)

    schedule(engine, note("far"))

    with pytest.raises(ConnectionError):
        rows_over(installed, engine, NewDesignTarget(NAME, Broken()), None)

    assert stored(engine) == ["far/1"]


def test_what_cannot_be_published_is_not_noted_as_moved(installed: Settings, engine: Engine) -> None:
    def fail() -> None:
        raise ConnectionError("no broker")

    class Broken(RecordingScheduler):
        def schedule(self, notification: Notification, *, session: Session) -> None:
            after_commit(session, fail)

    with Session(engine) as session, pytest.raises(ConnectionError):
        NewDesignTarget(NAME, Broken(), transactional=False).accept_if_unchanged(note("a"), session=session)
        session.commit()
    to = RecordingScheduler()
    with Session(engine) as session:
        NewDesignTarget(NAME, to, transactional=False).accept_if_unchanged(note("a"), session=session)
        session.commit()

    assert to.calls == ["schedule a/1"]


def test_what_was_changed_or_cancelled_since_the_switch_is_not_moved_after_it(
    installed: Settings, engine: Engine
) -> None:
    switch(engine, NAME)
    to = RecordingScheduler()
    with Session(engine) as session:
        application = MigratingScheduler(NAME, RecordingScheduler(), to)
        application.cancel("cancelled", revision=2, session=session)
        application.schedule(note("changed", 2), session=session)
        session.commit()
        for key in ("cancelled", "changed", "as it was"):
            NewDesignTarget(NAME, to).accept_if_unchanged(note(key), session=session)
        again = NewDesignTarget(NAME, to).accept_if_unchanged(note("as it was"), session=session)
        session.commit()

    assert to.calls == ["cancel cancelled/2", "schedule changed/2", "schedule as it was/1"]
    assert not again


def test_messages_leave_the_broker_with_all_that_is_in_them(installed: Settings, engine: Engine) -> None:
    queue = registry.load("oban_style_queue")
    sent = replace(note("a"), payload={"x": [1, "ü"]})
    with Session(engine) as session:
        for one in (sent, note("soon", due_at=system_clock())):
            queue.scheduler(installed).schedule(one, session=session)
        session.commit()
    assert queue.migrate is not None

    moved = queue.migrate(installed, engine, NewDesignTarget(NAME, ReadModel()), None)

    assert (moved, stored(engine)) == (1, ["a/1"])
    assert held_task_ids(installed)[0] == ["soon/1"]
    with redis.Redis.from_url(installed.broker_url) as broker:
        assert broker.llen("oban_style_queue") == 1


def test_a_whole_migration_ends_when_the_old_side_is_empty(installed: Settings, engine: Engine) -> None:
    schedule(engine, note("far"), note("now", due_at=datetime(2020, 1, 1, tzinfo=UTC)))
    box, messages = RecordingGateway(), list[str]()

    def serve() -> None:
        with closing(Drain(connect(engine), box)) as draining:
            draining.drain_all()

    worker = threading.Timer(0.5, serve)
    worker.start()
    moved = migrate(
        registry.load("push_readmodel"), registry.load("oban_style_queue"), installed, engine, report=messages.append
    )
    worker.join()

    assert (moved, box.ops, stored(engine)) == (1, ["now/1"], [])
    assert held_task_ids(installed)[0] == ["far/1"]
    assert messages[0] == "switched: what is scheduled from now on goes to oban_style_queue"
    assert messages[-1] == "moved 1, 0 left to the servers of push_readmodel"


def test_the_way_back_knows_nothing_of_the_way_here(installed: Settings, engine: Engine) -> None:
    switch(engine, NAME)
    with Session(engine) as session:
        MigratingScheduler(NAME, RecordingScheduler(), RecordingScheduler()).schedule(note("a"), session=session)
        session.commit()

    back = registry.load("oban_style_queue-to-push_readmodel")
    back.install(engine)
    to = RecordingScheduler()
    with Session(engine) as session:
        NewDesignTarget(back.name, to).accept_if_unchanged(note("a"), session=session)
        session.commit()

    assert to.calls == ["schedule a/1"]


@pytest.mark.parametrize(
    "both", ["push_readmodel-to-push_readmodel:delete_first", "oban_style_queue-to-oban_style_queue:staged"]
)
def test_designs_that_share_a_store_are_refused(both: str) -> None:
    with pytest.raises(BadUsage, match="are of one family"):
        registry.load(both)


# The poller


@pytest.mark.parametrize("old", ["push_readmodel", "oban_style_queue"])
def test_no_design_can_be_followed_by_a_poller_and_it_says_why(old: str) -> None:
    with pytest.raises(BadUsage, match=f"pull_worker cannot take over from {old}: a poll looks at the window"):
        registry.load(f"{old}-to-pull_worker")


@pytest.mark.parametrize("new", ["push_readmodel", "oban_style_queue"])
def test_the_poller_can_be_followed_if_somebody_says_where_it_ended(
    installed: Settings, engine: Engine, new: str
) -> None:
    registry.load(f"pull_worker-to-{new}").install(engine)
    with pytest.raises(BadUsage, match=r"keeps no record of where its last poll ended: .* --since END"):
        migrate(registry.load("pull_worker"), registry.load(new), installed, engine)

    with engine.connect() as connection:
        assert connection.scalars(select(migration.c.switched)).all() == [False]


def test_what_lies_ahead_of_the_last_poll_is_taken_from_the_main_tables(installed: Settings, engine: Engine) -> None:
    poller = registry.load("pull_worker")
    lead = installed.reminder_lead
    looked_at = window(system_clock(), lead=lead, interval=installed.poll_interval)
    ended = looked_at.starts_until - lead
    with Session(engine) as session:
        session.add(User(id=1, name="user", address="1@example.org"))
        session.commit()
        application = Application(poller.scheduler(installed), reminder_lead=lead)
        for number, due_at in ((1, ended), (2, ended + timedelta(microseconds=1))):
            application.create_event(session, event_id=number, title="", starts_at=due_at + lead, user_ids=[1])
        follow_ups = FollowUps(poller.scheduler(installed))
        long_ago = ended - timedelta(days=365)
        follow_ups.begin(session, END_TRIAL, number=3, user_id=1, began_at=long_ago)
        follow_ups.begin(session, ASK_FOR_REVIEW, number=4, user_id=1, began_at=long_ago)
        follow_ups.begin(session, ASK_FOR_REVIEW, number=5, user_id=1, began_at=ended)

    moved = migrate(poller, registry.load("push_readmodel"), installed, engine, since=looked_at.starts_until)

    assert moved == 3
    assert stored(engine) == ["ask-for-review:5/1", "end-trial:3/1", "event-reminder:2:1/1"]


def test_the_promise_of_a_migration_is_the_weaker_of_both() -> None:
    both = registry.load("push_readmodel-to-oban_style_queue").guarantees

    assert (both.delivery, both.transactional, both.cancels) == ("at_most_once", False, False)
    assert (both.as_durable_as, both.due_by) == ("broker", "workers")
