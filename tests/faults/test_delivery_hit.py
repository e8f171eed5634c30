"""A hold keeps one delivery in a phase, and the record of a fault says which phase the files show."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest

from duetime.faults.delivery_hit import WorkerInDelivery
from duetime.faults.fault import FaultNotVerified
from duetime.harness.plan import catalogue
from duetime.harness.processes.cancellation import CancelToken
from duetime.interface import Notification
from duetime.runtime.delivery_phases import HOLD_FILE, PHASE_OF_TARGET, PHASES_FILE, DeliveryPhase, Hold, PhaseRecorder
from duetime.runtime.gateway import JournalGateway
from tests.commands import json_lines
from tests.eventually import assert_eventually

PHASES: tuple[DeliveryPhase, ...] = get_args(DeliveryPhase)


@pytest.fixture
def deliveries(tmp_path: Path) -> Path:
    file = tmp_path / "deliveries.jsonl"
    file.touch()
    file.with_name(PHASES_FILE).touch()
    return file


def gateway(deliveries: Path, worker: str = "worker-1") -> JournalGateway:
    phases = PhaseRecorder.of_run(deliveries, worker=worker)
    return JournalGateway(deliveries, worker=worker, delivery_time=timedelta(), phases=phases)


@contextmanager
def delivering(gateway: JournalGateway, *keys: str) -> Iterator[list[threading.Thread]]:
    """Deliver each key in a thread, and wait for all of them at the end."""
    notes = [Notification(key=key, revision=1, kind="t", recipient="r", due_at=datetime.now(UTC)) for key in keys]
    threads = [threading.Thread(target=gateway.deliver, args=(note,)) for note in notes]
    for thread in threads:
        thread.start()
    yield threads
    for thread in threads:
        thread.join(timeout=10)
        assert not thread.is_alive()


def recorded(deliveries: Path) -> list[str]:
    return [line["key"] for line in json_lines(deliveries)]


@pytest.mark.parametrize("phase", PHASES)
def test_the_phase_is_measured_while_the_delivery_is_in_it(deliveries: Path, phase: DeliveryPhase) -> None:
    hit = WorkerInDelivery(deliveries, phase, nth=1, over_http=False)
    armed = threading.Thread(target=hit.wait_chosen, args=(CancelToken(),), kwargs={"within_s": 10})
    armed.start()
    assert_eventually(deliveries.with_name(HOLD_FILE).exists)

    with delivering(gateway(deliveries), "a") as [thread]:
        armed.join(timeout=10)
        record, words = hit.measure(0)
        assert thread.is_alive() or phase == "after"
        assert recorded(deliveries) == ([] if phase == "before" else ["a"])
        hit.release()

    assert (hit.worker, record["op"], record["phase"]) == ("worker-1", "a/1", phase)
    assert record["line"] == (None if phase == "before" else 1)
    assert ("no line of it in deliveries.jsonl" in words) == (phase == "before")
    assert recorded(deliveries) == ["a"]


def test_only_one_delivery_is_held_and_the_others_in_flight_are_in_the_record(deliveries: Path) -> None:
    first, second = (gateway(deliveries, worker) for worker in ("worker-1", "worker-2"))
    hold = Hold.arm(deliveries, "between", nth=2)

    with delivering(first, "a"), delivering(second, "b"):
        pass
    assert hold.chosen(deliveries) is None
    with delivering(first, "c") as [held]:
        assert_eventually(lambda: hold.chosen(deliveries))
        with delivering(first, "d"), delivering(second, "e"):
            pass
        assert held.is_alive()
        hold.release(deliveries)

    assert sorted(recorded(deliveries)) == ["a", "b", "c", "d", "e"]


def test_the_others_of_the_worker_are_recorded_with_their_phases(deliveries: Path) -> None:
    worker = gateway(deliveries)
    phases = PhaseRecorder(deliveries, worker="worker-1")
    hit = WorkerInDelivery(deliveries, "before", nth=3, over_http=False)
    armed = threading.Thread(target=hit.wait_chosen, args=(CancelToken(),), kwargs={"within_s": 10})
    armed.start()
    assert_eventually(deliveries.with_name(HOLD_FILE).exists)
    worker.deliver(Notification(key="a", revision=1, kind="t", recipient="r", due_at=datetime.now(UTC)))
    # A line without the step after it: the kill came between the two.
    phases.begin("b/1")
    worker.record("b", 1, attempt=1)

    with delivering(worker, "c"):
        armed.join(timeout=10)
        record, words = hit.measure(0)
        hit.release()

    assert (record["op"], record["phase"]) == ("c/1", "before")
    assert [(other["op"], other["phase"], other["line"]) for other in record["others"]] == [("b/1", "between", 2)]  # type: ignore[attr-defined]  # JSON
    assert "in flight too: b/1 (between); the last answer before was of a/1" in words


def test_a_phase_that_does_not_come_is_not_verified_and_leaves_no_hold(deliveries: Path) -> None:
    hit = WorkerInDelivery(deliveries, "before", nth=2, over_http=False)

    with pytest.raises(FaultNotVerified, match="delivery number 2 of no worker came to the phase 'before'"):
        hit.wait_chosen(CancelToken(), within_s=0.01)

    assert not deliveries.with_name(HOLD_FILE).exists()
    gateway(deliveries).deliver(Notification(key="a", revision=1, kind="t", recipient="r", due_at=datetime.now(UTC)))
    assert recorded(deliveries) == ["a"]


def test_a_run_without_such_a_fault_records_no_phases(tmp_path: Path) -> None:
    assert PhaseRecorder.of_run(tmp_path / "deliveries.jsonl", worker="worker-1") is None


def test_there_is_a_scenario_for_each_phase() -> None:
    crashes = [scenario for scenario in catalogue.ALL if scenario.name.startswith("crash")]

    assert {fault.target for scenario in crashes for fault in scenario.faults} == set(PHASE_OF_TARGET)
    assert all(scenario.plan(1).hits_deliveries() for scenario in crashes)
