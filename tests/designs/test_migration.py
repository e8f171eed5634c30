"""Migrations: no call is lost at the switch, and cancelled notifications are not moved."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import redis
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from duetime import registry
from duetime.after_commit import after_commit
from duetime.app.follow_ups import ASK_FOR_REVIEW, END_TRIAL, FollowUps
from duetime.app.tables import User
from duetime.app.use_cases import Application
from duetime.clock import system_clock
from duetime.errors import BadUsage
from duetime.interface import Notification, Scheduler
from duetime.migration import MigratingScheduler, NewDesignTarget, migrate, migration, migration_design, switch
from duetime.settings import Settings
from oban_style_queue.broker import held_task_ids
from pull_worker.poll import window
from push_readmodel.connection import connect
from push_readmodel.drain import Drain
from push_readmodel.migrate import migrate as migrate_rows
from push_readmodel.scheduler import ReadModelScheduler
from push_readmodel.schema import metadata
from tests.designs.read_model import RecordingGateway, give_up, schedule, stored

FAR = datetime(2100, 1, 1, tzinfo=UTC)
NAME = "push_readmodel-to-oban_style_queue"


class RecordingScheduler(Scheduler):
    """A scheduler that records its calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def schedule(self, notification: Notification, *, session: Session) -> None:
        self.calls.append(f"schedule {notification.op}")

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        self.calls.append(f"cancel {key}/{revision}")


class SchedulerWithoutBroker(RecordingScheduler):
    """A scheduler that fails to publish after the commit."""

    def schedule(self, notification: Notification, *, session: Session) -> None:
        after_commit(session, self._fail)

    def _fail(self) -> None:
        raise ConnectionError("no broker")


def note(key: str, revision: int = 1, *, due_at: datetime = FAR) -> Notification:
    return Notification(key=key, revision=revision, kind="test", recipient="a@b.example", due_at=due_at)


@pytest.fixture
def installed(settings: Settings, engine: Engine) -> Settings:
    metadata.create_all(engine)
    migration_design(registry.load("push_readmodel"), registry.load("oban_style_queue")).install(engine)
    return settings


def test_calls_go_to_the_old_design_before_the_switch_and_to_the_new_after_it(
    installed: Settings, engine: Engine
) -> None:
    old, new = RecordingScheduler(), RecordingScheduler()
    scheduler = MigratingScheduler(NAME, old, new)
    with Session(engine) as session:
        scheduler.schedule(note("a"), session=session)
        scheduler.cancel("b", revision=2, session=session)
        session.commit()
        switch(engine, NAME)
        scheduler.schedule(note("a", 2), session=session)
        scheduler.cancel("b", revision=3, session=session)
        session.commit()

    # cancel a/3: everything up to a/2, because a call from before the switch may be repeated after it.
    assert old.calls == ["schedule a/1", "cancel b/2", "cancel a/3", "cancel b/3"]
    assert new.calls == ["schedule a/2", "cancel b/3"]


def test_a_call_repeated_after_the_switch_is_pending_once(installed: Settings, engine: Engine) -> None:
    old, new = registry.load("push_readmodel"), registry.load("reference")
    both = migration_design(old, new)
    both.install(engine)
    scheduler = both.scheduler(installed)
    with Session(engine) as session:
        scheduler.schedule(note("a"), session=session)
        session.commit()
        switch(engine, both.name)
        scheduler.schedule_many([note("a"), note("a")], session=session)
        session.commit()

    assert [pending.where for pending in both.pending(installed, engine)] == ["row in reference"]


def test_the_switch_waits_for_a_transaction_that_uses_the_old_design(installed: Settings, engine: Engine) -> None:
    with Session(engine) as session:
        MigratingScheduler(NAME, RecordingScheduler(), RecordingScheduler()).schedule(note("a"), session=session)
        switching = threading.Thread(target=switch, args=(engine, NAME))
        switching.start()
        switching.join(timeout=0.3)
        waited = switching.is_alive()
        session.commit()
    switching.join(timeout=10)

    assert waited
    assert not switching.is_alive()


def test_rows_move_unless_a_worker_holds_them_or_they_are_due_soon(installed: Settings, engine: Engine) -> None:
    schedule(engine, note("far"), note("soon", due_at=system_clock()), note("held"))
    target = RecordingScheduler()
    with Session(engine) as holder:
        holder.connection().exec_driver_sql("SELECT FROM pending_notifications WHERE key = 'held' FOR UPDATE")
        moved = migrate_rows(installed, engine, NewDesignTarget(NAME, target), None)

    assert (moved, target.calls) == (1, ["schedule far/1"])
    assert stored(engine) == ["held/1", "soon/1"]


def test_a_row_stays_if_it_cannot_be_published(installed: Settings, engine: Engine) -> None:
    schedule(engine, note("far"))

    with pytest.raises(ConnectionError):
        migrate_rows(installed, engine, NewDesignTarget(NAME, SchedulerWithoutBroker()), None)

    assert stored(engine) == ["far/1"]


def test_a_notification_that_cannot_be_published_is_not_recorded_as_moved(installed: Settings, engine: Engine) -> None:
    with Session(engine) as session, pytest.raises(ConnectionError):
        NewDesignTarget(NAME, SchedulerWithoutBroker(), transactional=False).accept_if_unchanged(
            note("a"), session=session
        )
        session.commit()
    target = RecordingScheduler()
    with Session(engine) as session:
        NewDesignTarget(NAME, target, transactional=False).accept_if_unchanged(note("a"), session=session)
        session.commit()

    assert target.calls == ["schedule a/1"]


def test_a_notification_changed_or_cancelled_since_the_switch_is_not_moved(installed: Settings, engine: Engine) -> None:
    switch(engine, NAME)
    target = RecordingScheduler()
    with Session(engine) as session:
        scheduler = MigratingScheduler(NAME, RecordingScheduler(), target)
        scheduler.cancel("cancelled", revision=2, session=session)
        scheduler.schedule(note("changed", 2), session=session)
        session.commit()
        for key in ("cancelled", "changed", "as it was"):
            NewDesignTarget(NAME, target).accept_if_unchanged(note(key), session=session)
        accepted_again = NewDesignTarget(NAME, target).accept_if_unchanged(note("as it was"), session=session)
        session.commit()

    assert target.calls == ["cancel cancelled/2", "schedule changed/2", "schedule as it was/1"]
    assert not accepted_again


def test_messages_move_with_all_their_fields_and_leave_the_broker(installed: Settings, engine: Engine) -> None:
    queue = registry.load("oban_style_queue")
    sent = replace(note("a"), payload={"x": [1, "ü"]})
    with Session(engine) as session:
        queue.scheduler(installed).schedule_many([sent, note("soon", due_at=system_clock())], session=session)
        session.commit()
    assert queue.migrate is not None

    moved = queue.migrate(installed, engine, NewDesignTarget(NAME, ReadModelScheduler()), None)

    assert (moved, stored(engine)) == (1, ["a/1"])
    assert held_task_ids(installed)[0] == ["soon/1"]
    with redis.Redis.from_url(installed.broker_url) as broker:
        assert broker.llen("oban_style_queue") == 1


def test_a_migration_ends_when_the_old_design_holds_nothing(installed: Settings, engine: Engine) -> None:
    schedule(engine, note("far"), note("now", due_at=datetime(2020, 1, 1, tzinfo=UTC)))
    gateway, reports = RecordingGateway(), list[str]()

    def serve() -> None:
        with closing(Drain(connect(engine), gateway)) as draining:
            draining.drain_all()

    worker = threading.Timer(0.5, serve)
    worker.start()
    moved = migrate(
        registry.load("push_readmodel"), registry.load("oban_style_queue"), installed, engine, report=reports.append
    )
    worker.join()

    assert (moved, gateway.ops, stored(engine)) == (1, ["now/1"], [])
    assert held_task_ids(installed)[0] == ["far/1"]
    assert reports[0] == "switched: what is scheduled from now on goes to oban_style_queue"
    assert reports[-1] == "moved 1, 0 left to the workers of push_readmodel"


def test_a_migration_back_ignores_the_records_of_the_first_one(installed: Settings, engine: Engine) -> None:
    switch(engine, NAME)
    with Session(engine) as session:
        MigratingScheduler(NAME, RecordingScheduler(), RecordingScheduler()).schedule(note("a"), session=session)
        session.commit()

    back = registry.load("oban_style_queue-to-push_readmodel")
    back.install(engine)
    target = RecordingScheduler()
    with Session(engine) as session:
        NewDesignTarget(back.name, target).accept_if_unchanged(note("a"), session=session)
        session.commit()

    assert target.calls == ["schedule a/1"]


@pytest.mark.parametrize(
    "name", ["push_readmodel-to-push_readmodel:delete_first", "oban_style_queue-to-oban_style_queue:staged"]
)
def test_a_migration_between_designs_of_one_family_is_refused(name: str) -> None:
    with pytest.raises(BadUsage, match="are of one family"):
        registry.load(name)


@pytest.mark.parametrize("old", ["push_readmodel", "oban_style_queue"])
def test_a_migration_to_the_poller_is_refused_with_the_reason(old: str) -> None:
    with pytest.raises(BadUsage, match=f"pull_worker cannot take over from {old}: a poll looks at the window"):
        registry.load(f"{old}-to-pull_worker")


@pytest.mark.parametrize("new", ["push_readmodel", "oban_style_queue"])
def test_a_migration_from_the_poller_needs_the_end_of_its_last_window(
    installed: Settings, engine: Engine, new: str
) -> None:
    registry.load(f"pull_worker-to-{new}").install(engine)
    with pytest.raises(BadUsage, match=r"keeps no record of where its last poll ended: .* --since END"):
        migrate(registry.load("pull_worker"), registry.load(new), installed, engine)

    with engine.connect() as connection:
        assert connection.scalars(select(migration.c.switched)).all() == [False]


def test_from_the_poller_what_is_ahead_of_the_last_poll_moves_from_the_main_tables(
    installed: Settings, engine: Engine
) -> None:
    poller = registry.load("pull_worker")
    lead = installed.reminder_lead
    polled = window(system_clock(), lead=lead, interval=installed.poll_interval)
    ended = polled.starts_until - lead
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

    moved = migrate(poller, registry.load("push_readmodel"), installed, engine, since=polled.starts_until)

    assert moved == 3
    assert stored(engine) == ["ask-for-review:5/1", "end-trial:3/1", "event-reminder:2:1/1"]


def test_a_migration_guarantees_what_both_designs_guarantee() -> None:
    guarantees = registry.load("push_readmodel-to-oban_style_queue").guarantees

    assert (guarantees.delivery, guarantees.transactional, guarantees.cancels) == ("once_without_faults", False, False)
    assert (guarantees.as_durable_as, guarantees.due_by) == ("broker", "either")
    assert (guarantees.cancels_transactionally, guarantees.unique_by_key, guarantees.has_cancel) == (False, False, True)


def test_a_migration_refuses_to_leave_given_up_notifications_behind(installed: Settings, engine: Engine) -> None:
    give_up(engine, "a")
    old, new = registry.load("push_readmodel"), registry.load("oban_style_queue")

    with pytest.raises(BadUsage, match="holds 1 given-up notifications, which a migration does not move"):
        migrate(old, new, installed, engine)

    with engine.connect() as connection:
        assert not connection.execute(select(migration.c.switched)).scalar_one()
    with pytest.raises(BadUsage, match="failed_notifications"):
        migrate_rows(installed, engine, NewDesignTarget(NAME, RecordingScheduler()), None)
