"""Each violation of the poller, reproduced in every run. A poll is a function of the time, so no process is needed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime.app.tables import Event, Participation, User
from duetime.interface import Notification
from duetime.runtime.gateway import Gateway
from duetime.runtime.gateway_faults import GatewayRefused
from pull_worker.poll import Poll, poll
from pull_worker.variants import claimed, watermark
from pull_worker.variants.claimed import poll_and_claim
from pull_worker.variants.watermark import poll_since_watermark

pytestmark = pytest.mark.processes

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
LEAD = timedelta(minutes=10)
MINUTE = timedelta(minutes=1)
TICK = timedelta(milliseconds=10)

EVERY_POLLER = pytest.mark.parametrize(
    "poller", [poll, poll_since_watermark, poll_and_claim], ids=["naive", "watermark", "claimed"]
)


class World:
    """Events, polls at chosen times, and a gateway that refuses some deliveries."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.delivered: list[int] = []
        self.refused: set[int] = set()

    def event(self, number: int, *, due_at: datetime) -> None:
        starts_at = due_at + LEAD
        event = Event(id=number, title="Talk", starts_at=starts_at, ends_at=starts_at + MINUTE)
        event.participations = [Participation(user_id=1, reminder_revision=1)]
        self.session.add(event)
        self.session.commit()

    def poll(self, poller: Poll, *, at: datetime) -> None:
        try:
            poller(self.session, self, now=at, lead=LEAD, interval=MINUTE)
        except GatewayRefused:
            # Celery logs the error of a task and goes on with the next tick.
            self.session.rollback()

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        event = int(notification.key.split(":")[1])
        if event in self.refused:
            raise GatewayRefused(notification.key)
        self.delivered.append(event)


@pytest.fixture
def world(engine: Engine) -> Iterator[World]:
    claimed.design.install(engine)
    watermark.design.install(engine)
    with Session(engine) as session:
        session.add(User(id=1, name="user", address="1@example.org"))
        session.commit()
        yield World(session)


@EVERY_POLLER
def test_a_reminder_due_during_downtime_is_missed_without_a_watermark(world: World, poller: Poll) -> None:
    world.event(1, due_at=NOON + 2 * MINUTE + MINUTE / 2)

    world.poll(poller, at=NOON)
    world.poll(poller, at=NOON + 5 * MINUTE)

    assert world.delivered == ([1] if poller == poll_since_watermark else [])


@EVERY_POLLER
def test_a_second_worker_duplicates_unless_deliveries_are_claimed(world: World, engine: Engine, poller: Poll) -> None:
    """The second worker polls during the first worker's delivery."""
    world.event(1, due_at=NOON - MINUTE / 2)
    deliveries: list[str] = []
    second = threading.Thread(target=lambda: poll_once(poller, engine, SecondWorker(deliveries)))

    class FirstWorker:
        def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
            second.start()
            # Enough for a second worker that need not wait; a claim makes it wait for the end of this transaction.
            second.join(timeout=1.0)
            deliveries.append("first")

    poll_once(poller, engine, FirstWorker())
    second.join(timeout=10)

    assert sorted(deliveries) == (["first"] if poller == poll_and_claim else ["first", "second"])


class SecondWorker:
    def __init__(self, deliveries: list[str]) -> None:
        self._deliveries = deliveries

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        self._deliveries.append("second")


def poll_once(poller: Poll, engine: Engine, gateway: Gateway) -> None:
    with Session(engine) as session:
        poller(session, gateway, now=NOON, lead=LEAD, interval=MINUTE)
        session.commit()


@EVERY_POLLER
def test_a_reminder_created_after_its_window_is_missed(world: World, poller: Poll) -> None:
    world.poll(poller, at=NOON)
    world.event(1, due_at=NOON - TICK)
    for minute in range(1, 4):
        world.poll(poller, at=NOON + minute * MINUTE)

    assert world.delivered == []


def test_a_tick_later_than_the_one_before_leaves_a_gap(world: World) -> None:
    world.event(1, due_at=NOON + TICK + TICK / 2)

    world.poll(poll, at=NOON + TICK)
    world.poll(poll, at=NOON + MINUTE + 2 * TICK)

    assert world.delivered == []


def test_a_tick_sooner_than_the_one_before_duplicates(world: World) -> None:
    world.event(1, due_at=NOON + TICK + TICK / 2)

    world.poll(poll, at=NOON + 2 * TICK)
    world.poll(poll, at=NOON + MINUTE + TICK)

    assert world.delivered == [1, 1]


def test_with_a_watermark_windows_have_neither_gap_nor_overlap(world: World) -> None:
    world.event(1, due_at=NOON + TICK + TICK / 2)

    for at in (NOON + TICK, NOON + MINUTE + 2 * TICK, NOON + 2 * MINUTE + TICK):
        world.poll(poll_since_watermark, at=at)

    assert world.delivered == [1]


@EVERY_POLLER
def test_a_worker_with_a_fast_clock_delivers_early(world: World, poller: Poll) -> None:
    world.event(1, due_at=NOON + MINUTE)

    world.poll(poller, at=NOON + MINUTE)  # the worker's clock; the real time is noon

    assert world.delivered == [1]


def test_a_refused_delivery_ends_its_poll(world: World) -> None:
    for number in (1, 2, 3):
        world.event(number, due_at=NOON - MINUTE / 2 + number * TICK)
    world.refused = {2}

    world.poll(poll, at=NOON)
    world.refused = set()
    world.poll(poll, at=NOON + MINUTE)

    assert world.delivered == [1]


def test_with_a_watermark_deliveries_before_the_refused_one_are_repeated_until_it_succeeds(world: World) -> None:
    for number in (1, 2, 3):
        world.event(number, due_at=NOON - MINUTE / 2 + number * TICK)
    world.poll(poll_since_watermark, at=NOON - MINUTE)
    world.refused = {2}

    world.poll(poll_since_watermark, at=NOON)
    world.poll(poll_since_watermark, at=NOON + MINUTE)
    world.refused = set()
    world.poll(poll_since_watermark, at=NOON + 2 * MINUTE)

    assert world.delivered == [1, 1, 1, 2, 3]
