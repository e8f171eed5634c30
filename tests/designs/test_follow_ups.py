"""Follow-ups: the five use cases besides reminders, with their real durations, in the three designs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from duetime.app.effects import STATEMENTS, WAGE_CENTS
from duetime.app.follow_ups import ASK_FOR_REVIEW, END_TRIAL, FOLLOW_UPS, PAY_ERRAND, FollowUp, FollowUps
from duetime.app.tables import Effect, Errand, Purchase, Trial, User
from duetime.app.use_cases import Application
from duetime.app.visible_state import revision_shown
from duetime.errors import BadUsage
from duetime.interface import Notification
from duetime.runtime.effects import Effects, effects_from
from duetime.settings import Settings
from oban_style_queue.deliver import deliver_one
from oban_style_queue.variants import hardened, staged
from pull_worker.follow_ups import due_at, follow_ups_due_between, settle_overdue
from push_readmodel.connection import connect
from push_readmodel.drain import Drain
from push_readmodel.scheduler import ReadModelScheduler
from push_readmodel.schema import metadata, pending
from push_readmodel.variants.delete_first import DrainDeletingFirst
from tests.designs.read_model import RecordingGateway, note, schedule, stored
from tests.designs.test_application import RecordingScheduler

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
EFFECTS = Effects(STATEMENTS, worker="test")


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    metadata.create_all(engine)
    with Session(engine) as session:
        session.add(User(id=1, name="user", address="1@example.org"))
        session.commit()
        yield session


def effects_done(session: Session) -> list[str]:
    session.rollback()
    return list(session.scalars(select(Effect.op).order_by(Effect.id)))


@pytest.mark.parametrize(
    ("kind", "due"),
    [
        ("end-trial", datetime(2030, 2, 14, 12, tzinfo=UTC)),
        ("ask-for-review", datetime(2030, 2, 28, 12, tzinfo=UTC)),
        ("cancel-reservation", datetime(2030, 1, 31, 12, 15, tzinfo=UTC)),
        ("pay-errand", datetime(2030, 2, 3, 12, tzinfo=UTC)),
        ("cancel-order", datetime(2030, 2, 2, 12, tzinfo=UTC)),
    ],
)
def test_each_use_case_schedules_its_follow_up_for_its_due_time(session: Session, kind: str, due: datetime) -> None:
    scheduler = RecordingScheduler()

    FollowUps(scheduler).begin(session, FOLLOW_UPS[kind], number=7, user_id=1, began_at=NOON)

    assert scheduler.calls == [("schedule", f"{kind}:7", 1)]
    assert scheduler.last is not None
    assert (scheduler.last.due_at, scheduler.last.recipient) == (due, "1@example.org")


def test_in_a_leap_year_a_month_after_31_january_is_29_february() -> None:
    assert ASK_FOR_REVIEW.due_at(NOON.replace(year=2032)) == datetime(2032, 2, 29, 12, tzinfo=UTC)


def test_at_a_time_scale_of_one_day_per_second_a_trial_ends_after_14_seconds() -> None:
    assert END_TRIAL.due_at(NOON, time_scale=86_400) == NOON + timedelta(seconds=14)


@pytest.mark.parametrize("follow_up", FOLLOW_UPS.values(), ids=FOLLOW_UPS)
def test_a_follow_up_can_be_postponed_and_cancelled(session: Session, follow_up: FollowUp) -> None:
    scheduler = RecordingScheduler()
    use_cases = FollowUps(scheduler)
    use_cases.begin(session, follow_up, number=7, user_id=1, began_at=NOON)
    key = f"{follow_up.kind}:7"

    use_cases.postpone(session, follow_up, number=7, began_at=NOON + timedelta(days=1))
    use_cases.cancel(session, follow_up, number=7)

    assert scheduler.calls == [("schedule", key, 1), ("schedule", key, 2), ("cancel", key, 3)]
    assert session.get_one(follow_up.table, 7).status == follow_up.cancelled_by
    assert revision_shown(session, key) == 3


def test_postponing_a_cancelled_follow_up_does_not_schedule_it_again(session: Session) -> None:
    scheduler = RecordingScheduler()
    use_cases = FollowUps(scheduler)
    use_cases.begin(session, END_TRIAL, number=7, user_id=1, began_at=NOON)
    use_cases.cancel(session, END_TRIAL, number=7)

    use_cases.postpone(session, END_TRIAL, number=7, began_at=NOON + timedelta(days=1))

    assert [verb for verb, _, _ in scheduler.calls] == ["schedule", "cancel"]


def test_an_upgrade_after_the_end_of_the_trial_does_not_change_its_status(session: Session) -> None:
    session.add(Trial(id=7, user_id=1, began_at=NOON, status="ended", revision=1))
    session.commit()

    FollowUps(RecordingScheduler()).cancel(session, END_TRIAL, number=7)

    assert session.get_one(Trial, 7).status == "ended"


def test_a_new_address_applies_to_pending_messages_and_not_to_effects_in_the_database(session: Session) -> None:
    scheduler = RecordingScheduler()
    use_cases = FollowUps(scheduler)
    for follow_up, number in ((ASK_FOR_REVIEW, 1), (ASK_FOR_REVIEW, 2), (END_TRIAL, 3)):
        use_cases.begin(session, follow_up, number=number, user_id=1, began_at=NOON)
    use_cases.cancel(session, ASK_FOR_REVIEW, number=2)
    scheduler.calls.clear()

    application = Application(scheduler, reminder_lead=timedelta(minutes=10))
    application.change_address(session, user_id=1, address="1@new.example", now=NOON)

    assert scheduler.calls == [("schedule", "ask-for-review:1", 2)]
    assert scheduler.last is not None and scheduler.last.recipient == "1@new.example"


@pytest.mark.parametrize("follow_up", FOLLOW_UPS.values(), ids=FOLLOW_UPS)
def test_postgresql_and_python_compute_the_same_due_times(session: Session, follow_up: FollowUp) -> None:
    random = Random(7)
    beginnings = [NOON + timedelta(seconds=random.randrange(4 * 365 * 86_400)) for _ in range(300)]
    session.add_all(
        follow_up.table(id=number, user_id=1, began_at=at, status="open", revision=1)
        for number, at in enumerate(beginnings)
    )
    session.commit()

    for time_scale in (1.0, 86_400.0):
        computed = session.scalars(select(due_at(follow_up, time_scale=time_scale)).order_by(follow_up.table.id)).all()
        assert computed == pytest.approx(
            [follow_up.due_at(at, time_scale=time_scale) for at in beginnings], abs=2 * MICROSECOND
        )


def test_all_purchases_of_the_last_days_of_january_are_due_on_28_february(session: Session) -> None:
    bought = [NOON - timedelta(days=days) for days in (3, 2, 1, 0)]
    session.add_all(
        Purchase(id=number, user_id=1, began_at=at, status="open", revision=1) for number, at in enumerate(bought)
    )
    session.commit()
    due = datetime(2030, 2, 28, 12, tzinfo=UTC)

    found = follow_ups_due_between(session, due - timedelta(minutes=1), due, time_scale=1.0)

    assert [notification.op for notification in found] == [f"ask-for-review:{number}/1" for number in range(4)]


def test_the_poller_ends_a_due_trial_once(session: Session, engine: Engine) -> None:
    session.add(Trial(id=7, user_id=1, began_at=NOON, status="open", revision=1))
    session.commit()
    due = NOON + timedelta(days=14)

    before = settle_overdue(session, EFFECTS, now=due - MICROSECOND, time_scale=1.0)
    then = settle_overdue(session, EFFECTS, now=due, time_scale=1.0)
    with Session(engine) as other_worker:
        again = settle_overdue(other_worker, EFFECTS, now=due + timedelta(days=30), time_scale=1.0)

    assert (before, then, again) == (0, 1, 0)
    assert effects_done(session) == ["end-trial:7/1"]


def test_a_month_of_downtime_only_delays_the_effects_of_the_poller_in_the_database(session: Session) -> None:
    session.add(Trial(id=7, user_id=1, began_at=NOON, status="open", revision=1))
    session.commit()

    assert settle_overdue(session, EFFECTS, now=NOON + timedelta(days=44), time_scale=1.0) == 1


def test_the_poller_executes_the_other_effects_when_one_fails(session: Session) -> None:
    session.add_all(Trial(id=number, user_id=1, began_at=NOON, status="open", revision=1) for number in (1, 2, 3))
    session.commit()
    ending = STATEMENTS["end-trial"].replace("status = 'ended'", "status = left('ended', 5 + 0 / abs(%(id)s - 2))")

    done = settle_overdue(
        session, Effects({"end-trial": ending}, worker="t"), now=NOON + timedelta(days=15), time_scale=1.0
    )

    assert done == 2
    assert sorted(effects_done(session)) == ["end-trial:1/1", "end-trial:3/1"]


class Killed(BaseException):
    """The worker was killed."""


class KillingGateway:
    """A gateway that kills the worker during a delivery."""

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        raise Killed


def errand_and_reminder(session: Session) -> None:
    """Schedule a due wage, and a reminder that is due after it."""
    FollowUps(ReadModelScheduler()).begin(
        session, PAY_ERRAND, number=7, user_id=1, began_at=datetime(2020, 1, 1, tzinfo=UTC)
    )
    after = datetime(2020, 2, 1, tzinfo=UTC)
    reminder = Notification(key="r", revision=1, kind="reminder", recipient="a@b.example", due_at=after)
    ReadModelScheduler().schedule(reminder, session=session)
    session.commit()


def balance(session: Session) -> int:
    session.rollback()
    return session.scalars(select(User.balance_cents)).one()


def test_a_crash_between_the_payment_and_the_commit_pays_once(session: Session, engine: Engine) -> None:
    errand_and_reminder(session)
    with closing(Drain(connect(engine), KillingGateway(), effects=EFFECTS)) as drain:
        drain._sizer.limit = 10
        with pytest.raises(Killed):
            drain.drain_all()
    before = balance(session)

    box = RecordingGateway()
    with closing(Drain(connect(engine), box, effects=EFFECTS)) as drain:
        arrived, _ = drain.drain_all()

    assert (before, balance(session)) == (0, WAGE_CENTS)
    assert (arrived, box.ops) == (2, ["r/1"])
    assert effects_done(session) == ["pay-errand:7/1"]


def test_a_failed_effect_does_not_affect_the_rest_of_its_batch(session: Session, engine: Engine) -> None:
    errand_and_reminder(session)
    broken = Effects({"pay-errand": "SELECT 1 / 0"}, worker="test")
    box = RecordingGateway()

    with closing(Drain(connect(engine), box, effects=broken)) as drain:
        drain._sizer.limit = 10
        drain.drain_all()

    session.rollback()
    row = session.execute(select(pending.c.key, pending.c.attempts, pending.c.last_error)).one()
    assert box.ops == ["r/1"]
    assert (row.key, row.attempts) == ("pay-errand:7", 1)
    assert "division by zero" in row.last_error


def test_effects_before_and_after_a_failed_one_happen_once(session: Session, engine: Engine) -> None:
    """The driver loses its prepared statements in a rollback, in the middle of a pipeline."""
    use_cases = FollowUps(ReadModelScheduler())
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    for number in range(1, 7):
        use_cases.begin(session, PAY_ERRAND, number=number, user_id=1, began_at=long_ago + number * MICROSECOND)
    divided = STATEMENTS["pay-errand"].replace("%(op)s::text", "left(%(op)s, 10 / abs(%(id)s - 3) * 0 + 99)")
    refused = Notification(key="r", revision=1, kind="r", recipient="x", due_at=datetime(2020, 2, 1, tzinfo=UTC))
    ReadModelScheduler().schedule(refused, session=session)
    session.commit()

    with closing(
        Drain(connect(engine), RecordingGateway(refuse="x"), effects=Effects({"pay-errand": divided}, worker="t"))
    ) as drain:
        drain._sizer.limit = 10
        drain.drain_all()
        drain.check_remaining()

    assert balance(session) == 5 * WAGE_CENTS
    assert effects_done(session) == [f"pay-errand:{number}/1" for number in (1, 2, 4, 5, 6)]
    assert sorted(session.scalars(select(pending.c.key))) == ["pay-errand:3", "r"]


def test_a_complaint_at_the_moment_of_payment_wins_over_the_payment(session: Session, engine: Engine) -> None:
    """A deadlock: the application locks the errand and waits for the pending row, the drain the other way round."""
    errand_and_reminder(session)
    errand_locked, row_claimed = threading.Event(), threading.Event()

    class Complaining(FollowUps):
        def cancel(self, session: Session, follow_up: FollowUp, *, number: int) -> None:
            session.get_one(follow_up.table, number, with_for_update=True)
            errand_locked.set()
            assert row_claimed.wait(10)
            super().cancel(session, follow_up, number=number)

    def complain() -> None:
        with Session(engine) as mine:
            Complaining(ReadModelScheduler()).cancel(mine, PAY_ERRAND, number=7)

    class Claiming(Effects):
        def of(self, notification: Notification) -> tuple[str, dict[str, object]] | None:
            if notification.kind == "pay-errand":
                assert errand_locked.wait(10)
                row_claimed.set()
            return super().of(notification)

    with (
        ThreadPoolExecutor() as pool,
        closing(Drain(connect(engine), RecordingGateway(), effects=Claiming(STATEMENTS, worker="t"))) as drain,
    ):
        complaint = pool.submit(complain)
        drain._sizer.limit = 10
        drain.drain_all()
        complaint.result(timeout=10)

    assert balance(session) == 0
    assert session.get_one(Errand, 7).status == "complained"
    assert session.scalars(select(pending.c.key)).all() == []


def test_an_effect_that_is_no_statement_does_not_lose_its_row(engine: Engine) -> None:
    metadata.create_all(engine)
    schedule(engine, note("a"))
    wrong = Effects({"test": 123}, worker="t")  # type: ignore[dict-item]  # a mistake in the application

    with closing(Drain(connect(engine), RecordingGateway(), effects=wrong)) as draining:
        draining.drain_all()

    assert stored(engine) == ["a/1"]


def test_delete_first_loses_a_failed_effect(session: Session, engine: Engine) -> None:
    errand_and_reminder(session)
    broken = Effects({"pay-errand": "SELECT 1 / 0"}, worker="test")
    box = RecordingGateway()

    with closing(DrainDeletingFirst(connect(engine), box, effects=broken)) as drain:
        drain.drain_all()

    session.rollback()
    assert box.ops == ["r/1"]
    assert session.scalar(select(func.count()).select_from(pending)) == 0


def wages() -> Notification:
    due_at = datetime(2020, 1, 4, tzinfo=UTC)
    return Notification(
        key="pay-errand:7", revision=1, kind="pay-errand", recipient="1@example.org", due_at=due_at, payload={"id": 7}
    )


def test_the_hardened_queue_pays_once_for_duplicate_messages(session: Session, engine: Engine) -> None:
    hardened.design.install(engine)
    errand_and_reminder(session)
    session.execute(hardened.wanted.insert().values(key="pay-errand:7", revision=1))
    session.commit()

    for _ in range(3):
        hardened.deliver_if_wanted(engine, RecordingGateway(), wages(), retries=0, effects=EFFECTS)

    assert balance(session) == WAGE_CENTS


def test_the_plain_queue_pays_for_each_duplicate_message(session: Session, engine: Engine) -> None:
    errand_and_reminder(session)

    for _ in range(2):
        deliver_one(RecordingGateway(), wages(), retries=0, effects=EFFECTS, engine=lambda: engine)

    assert balance(session) == 2 * WAGE_CENTS


def test_the_staged_queue_pays_in_a_separate_transaction(session: Session, engine: Engine) -> None:
    staged.design.install(engine)
    errand_and_reminder(session)
    staged.JobsTable().schedule(wages(), session=session)
    session.commit()
    job_ids: list[int] = []
    staged.stage(engine, job_ids.append)

    assert staged.execute(engine, RecordingGateway(), job_ids[0], effects=EFFECTS)
    assert balance(session) == WAGE_CENTS


def test_a_wrong_path_of_effects_is_bad_usage(settings: Settings) -> None:
    assert effects_from(settings).of(wages()) is not None
    object.__setattr__(settings, "effects", "duetime.app.effects:NOTHING")
    with pytest.raises(BadUsage, match=r"DUETIME_EFFECTS is 'duetime.app.effects:NOTHING'; write package.module"):
        effects_from(settings)
