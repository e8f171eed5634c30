"""Lead times, days and months across a change of clocks, in a database whose sessions are in such a zone."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

import pytest
import redis
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from duetime.app.follow_ups import END_TRIAL, FOLLOW_UPS, FollowUps
from duetime.app.tables import Decision, Event, Invoice, Participation, User
from duetime.app.use_cases import Application
from duetime.clock import utc
from duetime.interface import Notification, Scheduler
from duetime.settings import Settings
from examples.two_conditions.oban_style_queue import EARLIEST_AFTER_PURCHASE, Answer, AskAgain, Pay, decide
from examples.two_conditions.pull_worker import to_reimburse
from examples.two_conditions.push_readmodel import Claimed, Decided, handle, reimbursements
from oban_style_queue.broker import QUEUE
from oban_style_queue.celeryapp import DELIVER, make_app
from oban_style_queue.scheduler import CeleryQueue
from pull_worker.design import status
from pull_worker.follow_ups import due_at
from pull_worker.migrate import still_ahead
from pull_worker.poll import poll
from pull_worker.variants import watermark
from push_readmodel.scheduler import ReadModelScheduler
from push_readmodel.schema import metadata, pending
from tests.designs.read_model import RecordingGateway

BERLIN = ZoneInfo("Europe/Berlin")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
MINUTE = timedelta(minutes=1)
MICROSECOND = timedelta(microseconds=1)
DAY = timedelta(days=1)

STARTS = {
    "Berlin, 5 minutes after the hour that is left out": datetime(2030, 3, 31, 3, 5, tzinfo=BERLIN),
    "Berlin, in the hour that comes twice, first": datetime(2030, 10, 27, 2, 5, tzinfo=BERLIN),
    "Berlin, in the hour that comes twice, again": datetime(2030, 10, 27, 2, 5, fold=1, tzinfo=BERLIN),
    "Berlin, 5 minutes after it": datetime(2030, 10, 27, 3, 5, tzinfo=BERLIN),
    "Lord Howe, 5 minutes after the half hour that is left out": datetime(2030, 10, 6, 2, 35, tzinfo=LORD_HOWE),
    "Lord Howe, in the half hour that comes twice, again": datetime(2030, 4, 7, 1, 45, fold=1, tzinfo=LORD_HOWE),
}


@pytest.fixture(params=STARTS)
def starts_at(request: pytest.FixtureRequest) -> datetime:
    """The start of an event, shortly after a change of clocks."""
    return STARTS[request.param]


@pytest.fixture
def zoned(engine: Engine, starts_at: datetime) -> Engine:
    """An engine for a database whose sessions are in the zone of `starts_at`, so psycopg returns datetimes in it."""
    metadata.create_all(engine)
    reimbursements.metadata.create_all(engine)
    with engine.begin() as connection:
        database = connection.scalar(text("SELECT current_database()"))
        connection.exec_driver_sql(f"ALTER DATABASE {database} SET TimeZone = '{starts_at.tzinfo}'")
    with Session(engine) as session:
        session.add_all(User(id=number, name="user", address=f"{number}@example.org") for number in (1, 2))
        session.commit()
    return engine


class Both(Scheduler):
    """Schedules with the read model and with the queue, in one transaction."""

    def __init__(self, settings: Settings) -> None:
        self._designs = ReadModelScheduler(), CeleryQueue(make_app(settings).tasks[DELIVER])

    def schedule(self, notification: Notification, *, session: Session) -> None:
        for design in self._designs:
            design.schedule(notification, session=session)

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        for design in self._designs:
            design.cancel(key, revision=revision, session=session)


def in_read_model(engine: Engine) -> dict[str, datetime]:
    with engine.connect() as connection:
        rows = connection.execute(select(pending.c.key, pending.c.revision, pending.c.due_at))
        return {f"{row.key}/{row.revision}": utc(row.due_at) for row in rows}


def in_broker(settings: Settings) -> dict[str, datetime]:
    """Return the ETA of each message, which Celery writes beside the notification."""
    with redis.Redis.from_url(settings.broker_url) as broker:
        headers = [json.loads(raw)["headers"] for raw in broker.lrange(QUEUE, 0, -1)]
    return {header["id"]: utc(datetime.fromisoformat(header["eta"])) for header in headers}


def shortly_before(starts_at: datetime) -> list[datetime]:
    """Return a time within a quarter of an hour before the change of clocks, and one a day before it, in that zone."""
    return [(utc(starts_at) - length).astimezone(starts_at.tzinfo) for length in (10 * MINUTE, timedelta(hours=20))]


def polled(engine: Engine, now: datetime, *, lead: timedelta) -> list[str]:
    gateway = RecordingGateway()
    with Session(engine) as session:
        poll(session, gateway, now=now, lead=lead, interval=MINUTE)
    return gateway.ops


@pytest.mark.parametrize("lead", [10 * MINUTE, DAY], ids=["10 minutes", "24 hours"])
def test_a_reminder_is_due_one_lead_time_before_its_event_in_every_design(
    zoned: Engine, settings: Settings, starts_at: datetime, lead: timedelta
) -> None:
    application = Application(Both(settings), reminder_lead=lead)
    with Session(zoned) as session:
        application.create_event(session, event_id=1, title="Talk", starts_at=starts_at, user_ids=[1])
    with Session(zoned) as session:
        # The start time is read from the database, in the zone of the session.
        application.join_event(session, event_id=1, user_id=2)

    due = starts_at.astimezone(UTC) - lead
    expected = {"event-reminder:1:1/1": due, "event-reminder:1:2/1": due}
    assert in_read_model(zoned) == in_broker(settings) == expected
    assert polled(zoned, due, lead=lead) == list(expected)
    assert polled(zoned, due - MICROSECOND, lead=lead) == []
    with Session(zoned) as session:
        rest = still_ahead(session, replace(settings, reminder_lead=lead), since=datetime(2030, 1, 1, tzinfo=UTC))
        assert {notification.op: notification.due_at for notification in rest} == expected


def test_an_event_is_as_long_after_a_move_as_before(zoned: Engine, settings: Settings, starts_at: datetime) -> None:
    application = Application(ReadModelScheduler(), reminder_lead=MINUTE)
    first, *later = [utc(starts_at) - timedelta(minutes=minutes) for minutes in (90, 60, 30, -60)]
    with Session(zoned) as session:
        application.create_event(
            session, event_id=1, title="Talk", starts_at=first.astimezone(starts_at.tzinfo), user_ids=[1]
        )
    for moved_to in [*later, starts_at]:
        with Session(zoned) as session:
            application.move_event(session, event_id=1, starts_at=moved_to.astimezone(starts_at.tzinfo))
            event = session.get_one(Event, 1)
            assert utc(event.ends_at) - utc(event.starts_at) == timedelta(hours=1)


def test_a_new_address_applies_to_the_reminders_that_are_still_ahead(
    zoned: Engine, settings: Settings, starts_at: datetime
) -> None:
    application = Application(ReadModelScheduler(), reminder_lead=DAY)
    with Session(zoned) as session:
        application.create_event(session, event_id=1, title="Talk", starts_at=starts_at, user_ids=[1])
    due = starts_at.astimezone(UTC) - DAY
    for now, revision in ((due, 1), (due - MICROSECOND, 2)):
        with Session(zoned) as session:
            zone = starts_at.tzinfo
            application.change_address(session, user_id=1, address="1@new.example", now=now.astimezone(zone))
        assert in_read_model(zoned) == {f"event-reminder:1:1/{revision}": due}


def test_a_follow_up_is_due_at_the_same_instant_in_every_design(
    zoned: Engine, settings: Settings, starts_at: datetime
) -> None:
    beginnings = shortly_before(starts_at)
    use_cases, expected = FollowUps(Both(settings)), {}
    with Session(zoned) as session:
        for follow_up in FOLLOW_UPS.values():
            for number, began_at in enumerate(beginnings):
                use_cases.begin(session, follow_up, number=number, user_id=1, began_at=began_at)
                expected[f"{follow_up.kind}:{number}/1"] = began_at.astimezone(UTC) + follow_up.after

    assert in_read_model(zoned) == in_broker(settings) == expected
    with Session(zoned) as session:
        rest = still_ahead(session, settings, since=datetime(2030, 1, 1, tzinfo=UTC))
        assert {notification.op: notification.due_at for notification in rest} == expected
        for follow_up, time_scale in product(FOLLOW_UPS.values(), (1.0, 86_400.0)):
            in_poll = session.scalars(select(due_at(follow_up, time_scale=time_scale)).order_by(follow_up.table.id))
            assert [utc(due) for due in in_poll] == pytest.approx(
                [follow_up.due_at(began_at, time_scale=time_scale) for began_at in beginnings], abs=2 * MICROSECOND
            )


def test_a_follow_up_is_postponed_by_the_hour_that_comes_twice(zoned: Engine, starts_at: datetime) -> None:
    first = starts_at.replace(fold=0)
    again = starts_at.replace(fold=1)
    use_cases = FollowUps(ReadModelScheduler())
    with Session(zoned) as session:
        use_cases.begin(session, END_TRIAL, number=1, user_id=1, began_at=first)
    for revision, began_at in enumerate((again, first), start=2):
        with Session(zoned) as session:
            use_cases.postpone(session, END_TRIAL, number=1, began_at=began_at)
        with Session(zoned) as session:
            stored = session.get_one(END_TRIAL.table, 1)
            assert (utc(stored.began_at), stored.revision) == (utc(began_at), revision)


def test_a_watermark_is_moved_on_by_a_microsecond_and_not_by_an_hour(zoned: Engine, starts_at: datetime) -> None:
    watermark.metadata.create_all(zoned)
    before = starts_at.astimezone(UTC) - MICROSECOND
    windows = []
    with Session(zoned) as session:
        for now in (before, before + MINUTE):
            window = watermark.poll_since_watermark(
                session, RecordingGateway(), now=now, lead=timedelta(), interval=MINUTE
            )
            windows.append(window)

    assert utc(windows[1].starts_from) == starts_at.astimezone(UTC)


def test_the_pollers_status_counts_back_one_lead_time(zoned: Engine, settings: Settings, starts_at: datetime) -> None:
    with Session(zoned) as session:
        event = Event(id=1, title="Talk", starts_at=starts_at, ends_at=starts_at)
        event.participations = [Participation(user_id=1, reminder_revision=1)]
        session.add(event)
        session.commit()

    oldest = status(replace(settings, reminder_lead=DAY), zoned).oldest_due_at

    assert oldest is not None
    assert utc(oldest) == starts_at.astimezone(UTC) - DAY


def test_three_days_after_a_purchase_are_72_hours_in_every_design(zoned: Engine, starts_at: datetime) -> None:
    for number, purchased_at in enumerate(shortly_before(starts_at)):
        due = purchased_at.astimezone(UTC) + EARLIEST_AFTER_PURCHASE
        with Session(zoned) as session:
            events: list[Claimed | Decided] = [
                Claimed(invoice=number, version=1, payee="a@b.example", purchased_at=purchased_at),
                Decided(invoice=number, version=1, decision=1, accepted=True, at=purchased_at),
            ]
            for event in events:
                handle(event, notifications=ReadModelScheduler(), session=session)
            session.add(Invoice(id=number, purchased_at=purchased_at, payee="a@b.example"))
            session.flush()
            session.add(Decision(invoice_id=number, version=1, number=1, accepted=True, decided_at=purchased_at))
            session.commit()
            assert in_read_model(zoned)[f"reimburse:{number}/1"] == due
            assert [one.id for one in to_reimburse(session, now=due - MICROSECOND)] == []
            [invoice] = to_reimburse(session, now=due)
            answer = Answer(purchased_at=invoice.purchased_at, accepted=True)
            invoice.reimbursed_at = due
            session.commit()
        assert decide(answer, now=due - MICROSECOND) == AskAgain(due)
        assert decide(answer, now=due) == Pay()


def test_a_repeated_event_does_not_schedule_a_reimbursement_again(zoned: Engine, starts_at: datetime) -> None:
    claimed = Claimed(invoice=1, version=1, payee="a@b.example", purchased_at=starts_at - 7 * DAY)
    decided = Decided(invoice=1, version=1, decision=1, accepted=True, at=starts_at)
    for event in (claimed, decided, decided, claimed):
        with Session(zoned) as session:
            handle(event, notifications=ReadModelScheduler(), session=session)
            session.commit()

    assert in_read_model(zoned) == {"reimburse:1/1": utc(starts_at)}


def test_an_instant_without_a_time_zone_is_refused_with_an_example() -> None:
    with pytest.raises(ValueError, match=r"2030-01-01T09:00:00 has no time zone.*tzinfo=UTC"):
        utc(datetime(2030, 1, 1, 9))  # noqa: DTZ001 - it is the point
