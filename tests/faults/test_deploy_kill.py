"""A deploy whose grace a delivery outlasts: what a worker does on SIGTERM decides how it ends."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from duetime.faults.delivery_hit import WorkerInDelivery
from duetime.faults.deploy_kill import DeployKill
from duetime.faults.fault import FaultNotVerified
from duetime.faults.worker import Choice, ChooseWorkers
from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.processes.worker_process import WorkerProcess
from duetime.interface import Role
from duetime.runtime.delivery_phases import PHASES_FILE
from duetime.settings import Settings
from tests.commands import json_lines

pytestmark = pytest.mark.processes

WORKER = """
import signal, sys, threading
from datetime import UTC, datetime
from duetime.interface import Notification
from duetime.runtime.gateway import gateway_from
from duetime.settings import Settings

signal.signal(signal.SIGTERM, {on_sigterm})
gateway = gateway_from(Settings.from_environment())
print("ready", flush=True)
gateway.deliver(Notification(key="a", revision=1, kind="t", recipient="r", due_at=datetime.now(UTC)))
threading.Event().wait()
"""
WAITS_FOR_IT = WORKER.format(on_sigterm="lambda *_: None")
GIVES_IT_UP = WORKER.format(on_sigterm="lambda *_: sys.exit(0)")
IDLE = "import signal, sys; signal.signal(15, lambda *_: sys.exit(0)); print('ready', flush=True); signal.pause()"
GRACE_S = 0.5

Make = Callable[[str, str], WorkerProcess]


@pytest.fixture
def deliveries(tmp_path: Path) -> Path:
    file = tmp_path / "deliveries.jsonl"
    file.touch()
    file.with_name(PHASES_FILE).touch()
    return file


@pytest.fixture
def start(tempdir: Path, deliveries: Path) -> Iterator[Make]:
    """Start a worker with this name and program, and wait until it is ready."""
    settings = Settings.from_environment(
        {"DUETIME_DESIGN": "mine", "DUETIME_DATABASE_URL": "postgresql://x", "DUETIME_BROKER_URL": "redis://x"}
    )
    made: list[WorkerProcess] = []

    def make(name: str, program: str) -> WorkerProcess:
        worker = WorkerProcess(
            name=name,
            role=Role(name="worker", argv=(sys.executable, "-c", program), ready="ready"),
            settings=replace(settings, worker=name, deliveries=deliveries),
            state=deliveries.with_name(f"{name}-state"),
            log=deliveries.with_name(f"{name}.log"),
            tempdir=tempdir,
        )
        made.append(worker)
        worker.start()
        worker.wait_ready(CancelToken())
        return worker

    yield make
    for each in made:
        each.end()


def in_a_delivery(deliveries: Path, start: Make, program: str) -> tuple[WorkerProcess, ChooseWorkers]:
    """Start a worker whose first delivery is held. Returns it, and the choice of it."""
    hit = WorkerInDelivery(deliveries, "before", nth=1, over_http=False)
    hit.arm()
    worker = start("worker-1", program)

    def choose(stop: CancelToken) -> Choice:
        moment = hit.wait_chosen(stop, within_s=20)
        return Choice([worker], moment, hit)

    return worker, choose  # type: ignore[return-value]  # a CancelToken sleeps


def ends(deliveries: Path) -> list[str]:
    return [line["op"] for line in json_lines(deliveries)]


@pytest.mark.parametrize(
    ("program", "grace_s", "how"),
    [
        (WAITS_FOR_IT, GRACE_S, f"worker-1: still ran {GRACE_S:g} s after SIGTERM, so killed; main process"),
        (GIVES_IT_UP, 20.0, "worker-1: ended on SIGTERM with status 0; main process"),
    ],
)
def test_a_worker_in_a_delivery_is_killed_after_the_grace_unless_it_gives_the_delivery_up(
    deliveries: Path, start: Make, program: str, grace_s: float, how: str
) -> None:
    worker, choose = in_a_delivery(deliveries, start, program)
    other, stop = start("worker-2", IDLE), CancelToken()
    fault = DeployKill(choose, lambda _stop: Choice([worker, other]), grace_s=grace_s)

    prepared = fault.prepare(stop)
    fault.inject()
    injected = fault.verify_injected(stop)

    assert "SIGTERM to worker-1" in prepared
    assert "then worker-2" in prepared
    assert injected.startswith(how)
    assert "no line of it in deliveries.jsonl" in injected
    assert fault.delivery
    assert (fault.delivery["op"], fault.delivery["phase"]) == ("a/1", "before")
    assert ends(deliveries) == []
    assert other.alive()

    fault.heal()
    healed = fault.verify_healed(stop)

    assert worker.serving()
    assert other.serving()
    assert "worker-2: ended on SIGTERM with status 0" in healed


def test_a_worker_that_got_no_signal_is_neither_killed_nor_verified(deliveries: Path, start: Make) -> None:
    worker, choose = in_a_delivery(deliveries, start, WAITS_FOR_IT)
    fault = DeployKill(choose, lambda _stop: Choice([worker]), grace_s=GRACE_S)
    fault.prepare(CancelToken())

    with pytest.raises(FaultNotVerified, match="worker-1 got no SIGTERM in a delivery"):
        fault.verify_injected(CancelToken())
    fault.heal()

    assert worker.alive()


def test_another_worker_that_does_not_end_leaves_the_fault_unverified(
    deliveries: Path, start: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no delivery, so only the machine can be too slow for it."""
    monkeypatch.setattr("duetime.faults.deploy_kill.WARM_S", GRACE_S)
    worker, choose = in_a_delivery(deliveries, start, GIVES_IT_UP)
    other, stop = start("worker-2", WAITS_FOR_IT), CancelToken()
    fault = DeployKill(choose, lambda _stop: Choice([worker, other]), grace_s=20)
    fault.prepare(stop)
    fault.inject()
    fault.verify_injected(stop)
    fault.heal()

    with pytest.raises(FaultNotVerified, match="worker-2 did not end on SIGTERM"):
        fault.verify_healed(stop)
