"""A worker that is killed before a delivery, between it and its answer, or after the answer: what each design does."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import timedelta
from typing import get_args

import pytest
from sqlalchemy.orm import Session

from duetime import contenders
from duetime.app.tables import Base, Event, Participation, User
from duetime.clock import system_clock
from duetime.faults.delivery_hit import WorkerInDelivery
from duetime.faults.fault import Sleeper
from duetime.faults.worker import Choice, KillWorkers
from duetime.harness.processes.worker_process import WorkerProcess
from duetime.runtime.delivery_phases import HOLD_FILE, PHASES_FILE, DeliveryPhase
from tests.designs.violations.world import MakeWorld, PlainSleeper, World
from tests.eventually import assert_eventually

pytestmark = pytest.mark.processes

PHASES: tuple[DeliveryPhase, ...] = get_args(DeliveryPhase)
SOON_S = 0.2
Schedule = Callable[[World, str], Collection[str]]
"""Makes notifications fall due soon; returns their keys."""


def schedule_here(world: World, key: str) -> Collection[str]:
    world.schedule(key, in_s=SOON_S)
    return {key}


def schedule_elsewhere(world: World, key: str) -> Collection[str]:
    assert world.schedule_from_client(key, in_s=SOON_S) == 0
    return {key}


def create_events(world: World, key: str) -> Collection[str]:
    """The poller has nothing to schedule: it finds events. Several, because on a busy machine its polls leave gaps."""
    first = int.from_bytes(key[:3].encode()) * 100
    starts_at = system_clock() + world.settings.reminder_lead + timedelta(seconds=SOON_S)
    with Session(world.engine) as session:
        for number in range(first, first + 20):
            starts_at += timedelta(seconds=0.25)
            event = Event(id=number, title="Talk", starts_at=starts_at, ends_at=starts_at + timedelta(minutes=1))
            event.participations = [Participation(user_id=1, reminder_revision=1)]
            session.add(event)
        session.commit()
    return {f"event-reminder:{number}:1" for number in range(first, first + 20)}


def killed_in(world: World, phase: DeliveryPhase, schedule: Schedule, worker: WorkerProcess) -> str:
    """Kill `worker` in `phase` of its next delivery; return the key. The fault's record must agree with the files."""
    hit = WorkerInDelivery(world.settings.deliveries, phase, nth=1, over_http=world.design.contender is not None)
    hit.arm()
    keys = schedule(world, phase)

    def choose(stop: Sleeper) -> Choice:
        return Choice([worker], hit.wait_chosen(stop, within_s=20), hit)

    fault = KillWorkers(choose)
    fault.prepare(PlainSleeper())
    fault.inject()
    evidence = fault.verify_injected(PlainSleeper())

    assert fault.delivery is not None
    key, _, _ = str(fault.delivery["op"]).rpartition("/")
    # Events of the phase before may still fall due.
    assert key in keys or len(keys) > 1, evidence
    assert fault.delivery["phase"] == phase, evidence
    assert bool(fault.delivery["line"]) == (phase != "before")
    assert not world.settings.deliveries.with_name(HOLD_FILE).exists()
    return key


def delivered_after_crashes(world: World, schedule: Schedule) -> dict[str, tuple[int, int]]:
    """Kill one worker in each phase. Return how often its notification had arrived then, and how often afterwards."""
    world.settings.deliveries.touch()
    world.settings.deliveries.with_name(PHASES_FILE).touch()
    keys: dict[str, str] = {}
    at_crash: dict[str, int] = {}
    for phase in PHASES:
        with world.worker(f"worker-{phase}") as worker:
            wait_settled(world)
            keys[phase] = killed_in(world, phase, schedule, worker)
            at_crash[phase] = world.delivered()[keys[phase]]
    with world.worker("worker-last"):
        wait_settled(world)
        later = schedule(world, "later")
        assert_eventually(lambda: any(world.delivered()[key] for key in later))
    return {phase: (at_crash[phase], world.delivered()[key] - at_crash[phase]) for phase, key in keys.items()}


def wait_settled(world: World) -> None:
    """Wait until what comes back has come back."""
    if world.design.guarantees.delivery == "at_least_once":
        assert_eventually(lambda: not world.pending())


def test_a_design_that_acknowledges_afterwards_loses_nothing(make_world: MakeWorld) -> None:
    delivered = delivered_after_crashes(make_world("push_readmodel"), schedule_here)

    # After the answer there is a millisecond in which the row is not deleted yet.
    assert delivered in ({"before": (0, 1), "between": (1, 1), "after": (1, again)} for again in (0, 1))


def test_a_queue_that_acknowledges_before_loses_what_it_had_not_delivered(make_world: MakeWorld) -> None:
    delivered = delivered_after_crashes(make_world("oban_style_queue"), schedule_here)

    assert delivered == {"before": (0, 0), "between": (1, 0), "after": (1, 0)}


def test_a_poller_does_not_come_back_to_a_window(make_world: MakeWorld) -> None:
    second = timedelta(seconds=1)
    world = make_world("pull_worker", poll_interval=second, reminder_lead=10 * second)
    Base.metadata.create_all(world.engine)
    with Session(world.engine) as session:
        session.add(User(id=1, name="user", address="1@example.org"))
        session.commit()

    # How often they had arrived depends on the polls, whose windows overlap on a busy machine.
    assert [again for _, again in delivered_after_crashes(world, create_events).values()] == [0, 0, 0]


def test_a_library_over_http_is_killed_in_the_same_phases(make_world: MakeWorld) -> None:
    world = made(make_world, "contender:procrastinate")

    delivered = delivered_after_crashes(world, schedule_elsewhere)

    assert delivered == {"before": (0, 0), "between": (1, 0), "after": (1, 0)}
    # Its jobs stay in "doing", and nothing retries them unless the user writes the task that does.
    assert {"before/1", "between/1"} <= {op for op, where in world.pending().items() if "doing" in where}


@pytest.mark.full
def test_a_library_that_retries_stalled_jobs_loses_nothing(make_world: MakeWorld) -> None:
    delivered = delivered_after_crashes(made(make_world, "contender:procrastinate:tuned"), schedule_elsewhere)

    assert delivered in ({"before": (0, 1), "between": (1, 1), "after": (1, again)} for again in (0, 1))


def made(make_world: MakeWorld, name: str) -> World:
    if missing := contenders.missing(name.split(":")[1]):
        pytest.skip(missing)
    return make_world(name)
