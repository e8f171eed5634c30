"""What goes wrong with polling, every time: the poll is a function of the instant, so no process is needed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime.app.tables import Event, Participation, User
from duetime.interface import Notification
from duetime.runtime.gateway import Gateway
from duetime.runtime.gateway_faults import GatewayRefused
from pull_worker.poll import poll
from pull_worker.variants import claimed, watermark
from pull_worker.variants.claimed import poll_and_claim
from pull_worker.variants.watermark import poll_since_watermark

pytestmark = pytest.mark.processes

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
LEAD = timedelta(minutes=10)
MINUTE = timedelta(minutes=1)
TICK = timedelta(milliseconds=10)

Poll = Callable[..., int]
EVERY = pytest.mark.parametrize(
    "how", [poll, poll_since_watermark, poll_and_claim], ids=["naive", "watermark", "claimed"]
)


class World:
    """Events, and polls at chosen instants."""

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

    def poll(self, how: Poll, *, at: datetime) -> None:
        try:
            how(self.session, self, now=at, lead=LEAD, interval=MINUTE)
        except GatewayRefused:
            # What Celery does with a task that raises: log it, and go on with the next tick.
            self.session.rollback()

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        event = int(notification.key.split(":")[1])
        if event in self.refused:
            raise GatewayRefused(notification.key)
        self.delivered.append(event)


@pytest.fixture
def world(engine: Engine) -> Iterator[World]:
    claimed.install(engine)
    watermark.install(engine)
    with Session(engine) as session:
        session.add(User(id=1, name="user", address="1@example.org"))
        session.commit()
        yield World(session)


@EVERY
def test_what_fell_due_while_no_server_was_up_is_missed_unless_the_last_poll_is_remembered(
    world: World, how: Poll
) -> None:
    world.event(1, due_at=NOON + 2 * MINUTE + MINUTE / 2)

    world.poll(how, at=NOON)
    world.poll(how, at=NOON + 5 * MINUTE)

    assert world.delivered == ([1] if how is poll_since_watermark else [])


@EVERY
def test_a_second_server_repeats_unless_it_is_written_down_who_delivers(world: World, how: Poll) -> None:
    """Both begin the same poll before either has ended it: the second begins inside the first's delivery."""
    world.event(1, due_at=NOON - MINUTE / 2)
    bind = world.session.get_bind()
    delivered: list[str] = []
    second = threading.Thread(target=lambda: poll_once(how, bind, SecondServer(delivered)))

    class FirstServer:
        def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
            second.start()
            # One that is not kept waiting is done by then; one that is goes on when this transaction has ended.
            second.join(timeout=1.0)
            delivered.append("first")

    poll_once(how, bind, FirstServer())
    second.join(timeout=10)

    assert sorted(delivered) == (["first"] if how is poll_and_claim else ["first", "second"])


class SecondServer:
    def __init__(self, delivered: list[str]) -> None:
        self._delivered = delivered

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        self._delivered.append("second")


def poll_once(how: Poll, bind: Engine, gateway: Gateway) -> None:
    with Session(bind) as session:
        how(session, gateway, now=NOON, lead=LEAD, interval=MINUTE)
        session.commit()


@EVERY
def test_what_is_created_when_its_window_has_passed_is_never_sent(world: World, how: Poll) -> None:
    world.poll(how, at=NOON)
    world.event(1, due_at=NOON - TICK)
    for minute in range(1, 4):
        world.poll(how, at=NOON + minute * MINUTE)

    assert world.delivered == []


def test_a_tick_that_comes_later_than_the_one_before_leaves_a_gap(world: World) -> None:
    world.event(1, due_at=NOON + TICK + TICK / 2)

    world.poll(poll, at=NOON + TICK)
    world.poll(poll, at=NOON + MINUTE + 2 * TICK)

    assert world.delivered == []


def test_a_tick_that_comes_sooner_than_the_one_before_repeats(world: World) -> None:
    world.event(1, due_at=NOON + TICK + TICK / 2)

    world.poll(poll, at=NOON + 2 * TICK)
    world.poll(poll, at=NOON + MINUTE + TICK)

    assert world.delivered == [1, 1]


def test_a_watermark_has_neither_gap_nor_overlap(world: World) -> None:
    world.event(1, due_at=NOON + TICK + TICK / 2)

    for at in (NOON + TICK, NOON + MINUTE + 2 * TICK, NOON + 2 * MINUTE + TICK):
        world.poll(poll_since_watermark, at=at)

    assert world.delivered == [1]


@EVERY
def test_a_clock_that_is_fast_makes_it_early(world: World, how: Poll) -> None:
    world.event(1, due_at=NOON + MINUTE)

    world.poll(how, at=NOON + MINUTE)  # the server's clock says so; it is noon

    assert world.delivered == [1]


def test_one_refused_delivery_takes_the_rest_of_its_poll_with_it(world: World) -> None:
    for number in (1, 2, 3):
        world.event(number, due_at=NOON - MINUTE / 2 + number * TICK)
    world.refused = {2}

    world.poll(poll, at=NOON)
    world.refused = set()
    world.poll(poll, at=NOON + MINUTE)

    assert world.delivered == [1]


def test_a_watermark_repeats_what_came_before_the_refused_one_until_it_succeeds(world: World) -> None:
    for number in (1, 2, 3):
        world.event(number, due_at=NOON - MINUTE / 2 + number * TICK)
    world.poll(poll_since_watermark, at=NOON - MINUTE)
    world.refused = {2}

    world.poll(poll_since_watermark, at=NOON)
    world.poll(poll_since_watermark, at=NOON + MINUTE)
    world.refused = set()
    world.poll(poll_since_watermark, at=NOON + 2 * MINUTE)

    assert world.delivered == [1, 1, 1, 2, 3]
