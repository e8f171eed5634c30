"""Whatever a caller writes: refused before anything is sent, or stored exactly and delivered equal."""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, timedelta, timezone
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from duetime import registry
from duetime.errors import ScheduleRejected
from duetime.interface import Notification
from duetime.reference import Arrived, deliver_next
from duetime.settings import Settings
from oban_style_queue.broker import QUEUE
from oban_style_queue.celeryapp import make_app
from oban_style_queue.deliver import deliver_one
from oban_style_queue.variants.hardened import deliver_if_wanted
from oban_style_queue.variants.staged import execute, stage
from push_readmodel.drain import drain

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.decimals()
    | st.dates()
    | st.datetimes(timezones=st.none() | st.timezones())
)
TEXTS = st.text(min_size=1, max_size=12) | st.text(string.printable, min_size=1) | SCALARS
NAMES = st.text(max_size=5) | st.sampled_from(["__type__", "__value__"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
NOT_QUITE_JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(NAMES | st.integers() | st.booleans() | st.none(), inner, max_size=3)
        | st.tuples(inner)
    ),
    max_leaves=6,
)
OFFSETS = st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59)).map(timezone)
FOLDS = st.sampled_from([0, 1])
DUE_TIMES = st.builds(
    lambda at, fold: at.replace(fold=fold), st.datetimes(timezones=OFFSETS | st.timezones() | st.just(UTC)), FOLDS
)
GOOD: dict[str, st.SearchStrategy[Any]] = {
    "key": st.text(string.ascii_letters + ":", min_size=1, max_size=200),
    "revision": st.integers(1, 10_000),
    "kind": st.just("test"),
    "recipient": st.emails(),
    "due_at": DUE_TIMES,
    "payload": st.dictionaries(NAMES, JSON, max_size=4),
}
ANY: dict[str, st.SearchStrategy[Any]] = {
    "key": TEXTS,
    "revision": st.integers() | SCALARS,
    "kind": TEXTS,
    "recipient": TEXTS,
    "due_at": st.datetimes(timezones=st.none() | st.timezones() | OFFSETS) | SCALARS,
    "payload": st.dictionaries(NAMES, NOT_QUITE_JSON, max_size=4) | NOT_QUITE_JSON,
}


@st.composite
def calls(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the fields of a notification; about two of three are good but for one field."""
    odd = draw(st.sets(st.sampled_from([*GOOD, None, None, None]), max_size=1))
    return {name: draw(ANY[name] if name in odd else good) for name, good in GOOD.items()}


class Recorded:
    """A gateway that keeps what it was given."""

    def __init__(self) -> None:
        self.notifications: list[Notification] = []

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        self.notifications.append(notification)


def deliver_from_table(engine: Engine, settings: Settings, gateway: Recorded) -> None:
    drain(engine, gateway)


def deliver_from_reference(engine: Engine, settings: Settings, gateway: Recorded) -> None:
    with engine.begin() as connection:
        deliver_next(connection, gateway, cast("Arrived", []))


def deliver_from_jobs(engine: Engine, settings: Settings, gateway: Recorded) -> None:
    jobs: list[int] = []
    stage(engine, jobs.append)
    for job in jobs:
        execute(engine, gateway, job)


def message(settings: Settings) -> Notification:
    """Take the message from the broker and decode it as Celery does."""
    app = make_app(settings)
    with app, app.connection_for_read() as connection:
        taken = app.amqp.queues[QUEUE](connection.default_channel).get(no_ack=True)
        assert taken is not None
        (notification,), _keywords, _embedded = taken.decode()
    assert taken.headers["eta"] == notification["due_at"]
    return Notification.from_stored_json(notification)


def deliver_from_broker(engine: Engine, settings: Settings, gateway: Recorded) -> None:
    deliver_one(gateway, message(settings), retries=0)


def deliver_wanted(engine: Engine, settings: Settings, gateway: Recorded) -> None:
    deliver_if_wanted(engine, gateway, message(settings), retries=0)


DELIVER: dict[str, tuple[Callable[[Engine, Settings, Recorded], None], str]] = {
    "push_readmodel": (deliver_from_table, "UPDATE pending_notifications SET attempt_at = '2020-01-01'"),
    "oban_style_queue": (deliver_from_broker, "SELECT 1"),
    "oban_style_queue:hardened": (deliver_wanted, "SELECT 1"),
    "oban_style_queue:staged": (deliver_from_jobs, "UPDATE jobs SET scheduled_at = '2020-01-01'"),
    "reference": (deliver_from_reference, "UPDATE reference SET due_at = '2020-01-01'"),
}


@pytest.mark.parametrize("name", DELIVER)
def test_any_call_is_refused_at_once_or_delivered_equal(name: str, engine: Engine, settings: Settings) -> None:
    deliver, make_due = DELIVER[name]
    design = registry.load(name)
    design.install(engine)
    scheduler = design.scheduler(settings)

    @given(calls())
    @options
    def any_call(call: dict[str, Any]) -> None:
        try:
            notification = Notification(**call)
        except ScheduleRejected:
            return
        gateway = Recorded()
        with Session(engine) as session:
            scheduler.schedule(notification, session=session)
            session.commit()
            session.execute(text(make_due))
            session.commit()
        deliver(engine, settings, gateway)
        assert gateway.notifications == [notification]
        assert (
            replace(notification, due_at=call["due_at"].astimezone(UTC), payload=dict(call["payload"])) == notification
        )
        assert {name: value for name, value in call.items() if name not in ("due_at", "payload")} == {
            name: getattr(notification, name) for name in ("key", "revision", "kind", "recipient")
        }

    any_call()


def test_the_search_finds_both() -> None:
    """Or a change that refuses everything would pass."""
    refused, accepted = [], []

    @given(calls())
    @options
    def any_call(call: dict[str, Any]) -> None:
        try:
            accepted.append(Notification(**call))
        except ScheduleRejected as error:
            refused.append(error)

    any_call()
    assert len(refused) > 10
    assert len(accepted) > 10


options = hypothesis_settings(
    max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], database=None
)
