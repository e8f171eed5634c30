"""Violations of the read model, each on every run: part of a batch delivered again, rows lost, an answer lost."""

from __future__ import annotations

import time
from collections import Counter
from datetime import timedelta

import pytest

from duetime.runtime.failpoints import Failpoint
from duetime.runtime.gateway_faults import GATEWAY_FAULT_FILE, InjectedGatewayFault
from push_readmodel.drain_settings import MAX_BATCH_ROWS
from tests.designs.violations.world import MakeWorld
from tests.eventually import assert_eventually

pytestmark = pytest.mark.processes


def test_the_part_of_a_batch_that_a_crashed_worker_delivered_is_delivered_again(make_world: MakeWorld) -> None:
    world = make_world("push_readmodel")
    world.schedule("a", "b", "c", "d")
    # The first batch of a worker is one row, because it does not know the speed of the gateway yet.
    world.arm(Failpoint(point="after_deliver", action="kill", nth=3))

    with world.worker(wait_ready=False) as killed:
        assert_eventually(killed.main_ended)
    before = world.delivered()
    world.disarm()
    with world.worker():
        assert_eventually(lambda: not world.pending())

    assert before == {"a": 1, "b": 1, "c": 1}
    assert world.delivered() == {"a": 1, "b": 2, "c": 2, "d": 1}


@pytest.mark.parametrize(("takes_s", "most"), [(0.0, MAX_BATCH_ROWS), (0.06, 2)], ids=["fast", "slow"])
def test_a_crash_duplicates_at_most_one_batch_which_is_limited_in_rows_and_time(
    make_world: MakeWorld, takes_s: float, most: int
) -> None:
    world = make_world("push_readmodel", delivery_time=timedelta(seconds=takes_s))
    keys = [f"k{number}" for number in range(3000 if takes_s == 0 else 20)]
    world.schedule(*keys)
    world.arm(Failpoint(point="after_deliver", action="kill", nth=len(keys) // 2 + 3))

    with world.worker(wait_ready=False) as killed:
        assert_eventually(killed.main_ended)
    world.disarm()
    with world.worker():
        assert_eventually(lambda: not world.pending(), within_s=60)

    times = Counter(world.delivered().values())
    assert 1 <= times[2] <= most
    assert times == {1: len(keys) - times[2], 2: times[2]}


def test_a_worker_with_several_threads_delivers_concurrently_and_each_row_once(make_world: MakeWorld) -> None:
    world = make_world("push_readmodel", delivery_time=timedelta(seconds=0.5))
    keys = [f"k{number}" for number in range(8)]

    with world.worker(environment={"DUETIME_THREADS": "4"}):
        began_s = time.monotonic()
        world.schedule(*keys)
        assert_eventually(lambda: not world.pending())
        took_s = time.monotonic() - began_s

    assert world.delivered() == dict.fromkeys(keys, 1)
    # One at a time would take four seconds.
    assert took_s < 3


def test_a_crash_before_the_delivery_neither_loses_nor_duplicates_it(make_world: MakeWorld) -> None:
    world = make_world("push_readmodel")
    world.schedule("a")
    world.arm(Failpoint(point="before_deliver", action="kill"))

    with world.worker(wait_ready=False) as killed:
        assert_eventually(killed.main_ended)
    assert world.pending() == {"a/1": "row in pending_notifications after 0 failed attempts"}
    world.disarm()
    with world.worker():
        assert_eventually(lambda: not world.pending())

    assert world.delivered() == {"a": 1}


def test_delete_first_loses_the_rows_that_a_crashed_worker_had_deleted(make_world: MakeWorld) -> None:
    world = make_world("push_readmodel:delete_first")
    world.schedule("a", "b", "c")
    world.arm(Failpoint(point="after_deliver", action="kill", nth=2))

    with world.worker(wait_ready=False) as killed:
        assert_eventually(killed.main_ended)

    assert world.delivered() == {"a": 1, "b": 1}
    assert world.pending() == {}


def test_a_lost_answer_duplicates_the_delivery_but_not_with_delete_first(make_world: MakeWorld) -> None:
    for name, times in (("push_readmodel", 2), ("push_readmodel:delete_first", 1)):
        world = make_world(name)
        key = name.rpartition(":")[2]
        gateway_fault = world.settings.deliveries.with_name(GATEWAY_FAULT_FILE)
        InjectedGatewayFault(mode="lose_answer", only=(key,)).begin(gateway_fault)
        world.schedule(key)

        with world.worker():
            assert_eventually(lambda: world.delivered()[key] == 1)  # noqa: B023 - called before the loop goes on
            InjectedGatewayFault.end(gateway_fault)
            assert_eventually(lambda: not world.pending())  # noqa: B023

        assert world.delivered()[key] == times


def test_an_application_that_crashes_after_its_commit_has_scheduled(make_world: MakeWorld) -> None:
    world = make_world("push_readmodel")
    world.arm(Failpoint(point="after_commit", action="kill"))

    assert world.schedule_from_client("a", in_s=3600) == -9
    assert list(world.pending()) == ["a/1"]


def test_an_application_that_crashes_before_its_commit_has_not_scheduled(make_world: MakeWorld) -> None:
    world = make_world("push_readmodel")
    world.arm(Failpoint(point="before_commit", action="kill"))

    assert world.schedule_from_client("a", in_s=3600) == -9
    assert world.pending() == {}
