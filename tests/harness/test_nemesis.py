"""Faults are injected and healed in the order of their times, also if they overlap."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import ClassVar

import pytest

from duetime.clock import Instant
from duetime.demo.active_faults import SharedFault
from duetime.faults.fault import FaultNotVerified, Sleeper
from duetime.harness.plan.plan import PlannedFault
from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.runs.nemesis import Nemesis


class RecordingFault:
    """A fault that only records its steps in `steps`.

    fails_at: the step that is not verified, or, with "!" after it, raises another error.
    """

    def __init__(self, name: str, steps: list[str], *, fails_at: str = "") -> None:
        self._name, self._steps, self._fails_at = name, steps, fails_at

    def prepare(self, _stop: Sleeper) -> str:
        return self._record("prepare")

    def inject(self) -> None:
        self._record("inject")

    def verify_injected(self, _stop: Sleeper) -> str:
        return self._record("observed")

    def heal(self) -> None:
        self._record("heal")

    def verify_healed(self, _stop: Sleeper) -> str:
        return self._record("healed")

    def _record(self, step: str) -> str:
        self._steps.append(f"{self._name} {step}")
        if step == self._fails_at:
            raise FaultNotVerified(f"{step} was not seen")
        if f"{step}!" == self._fails_at:
            raise OSError(step)
        return step


def planned(name: str, inject_s: float, heal_s: float) -> PlannedFault:
    return PlannedFault(fault=name, kind="kill", target="all", inject_s=inject_s, heal_s=heal_s)


def carried_out(tmp_path: Path, *faults: PlannedFault, fails_at: str = "") -> tuple[list[str], Nemesis]:
    steps: list[str] = []
    nemesis = Nemesis(
        lambda fault: RecordingFault(fault.fault, steps, fails_at=fails_at),
        lambda: "",
        tmp_path / "faults.jsonl",
        CancelToken(),
    )
    try:
        nemesis.carry_out(faults, Instant(wall_ns=0, mono_ns=time.monotonic_ns()))
    except OSError:
        steps.append("broke off")
    nemesis.close()
    return steps, nemesis


def test_overlapping_faults_are_injected_and_healed_in_the_order_of_their_times(tmp_path: Path) -> None:
    steps, _ = carried_out(tmp_path, planned("a", 0.0, 0.06), planned("b", 0.02, 0.04))

    assert steps == [f"{name} {step}" for name, step in [
        ("a", "prepare"), ("a", "inject"), ("a", "observed"), ("b", "prepare"), ("b", "inject"), ("b", "observed"),
        ("b", "heal"), ("b", "healed"), ("a", "heal"), ("a", "healed")]]  # fmt: skip
    phases = [json.loads(line)["phase"] for line in (tmp_path / "faults.jsonl").read_text().splitlines()]
    assert phases == ["inject", "observed"] * 2 + ["heal", "healed"] * 2


def test_the_delivery_that_a_fault_hit_is_recorded_when_it_was_observed(tmp_path: Path) -> None:
    class HitsADelivery(RecordingFault):
        delivery: ClassVar = {"op": "a/1", "phase": "before"}

    nemesis = Nemesis(lambda _: HitsADelivery("a", []), lambda: "", tmp_path / "faults.jsonl", CancelToken())
    nemesis.carry_out([planned("a", 0.0, 0.0)], Instant(wall_ns=0, mono_ns=time.monotonic_ns()))
    nemesis.close()

    records = [json.loads(line) for line in (tmp_path / "faults.jsonl").read_text().splitlines()]
    assert [record.get("delivery") for record in records] == [None, HitsADelivery.delivery, None, None]


def test_a_fault_without_duration_is_injected_before_it_is_healed(tmp_path: Path) -> None:
    steps, _ = carried_out(tmp_path, planned("a", 0.01, 0.01))

    assert steps[0] == "a prepare" and steps[-1] == "a healed"


def test_a_fault_that_was_not_verified_is_healed(tmp_path: Path) -> None:
    steps, nemesis = carried_out(tmp_path, planned("a", 0.0, 0.01), fails_at="observed")

    assert steps[-2:] == ["a heal", "a healed"]
    assert nemesis.unverified == ["a (kill all): observed was not seen"]


def test_every_injected_fault_is_healed_when_the_run_breaks_off(tmp_path: Path) -> None:
    steps, _ = carried_out(tmp_path, planned("a", 0.0, 1.0), planned("b", 0.0, 1.0), fails_at="observed!")

    assert steps[-2:] == ["a heal", "broke off"]


@pytest.mark.parametrize("fails_at", ["", "observed"])
def test_a_shared_fault_is_injected_once_after_every_run_has_prepared_it(fails_at: str) -> None:
    steps: list[str] = []
    shared = SharedFault(RecordingFault("broker", steps, fails_at=fails_at), sharers=3)
    evidence: list[str] = []

    def run() -> None:
        shared.prepare(CancelToken())
        shared.inject()
        try:
            evidence.append(shared.verify_injected(CancelToken()))
        except FaultNotVerified as error:
            evidence.append(str(error))
        shared.heal()
        shared.verify_healed(CancelToken())

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert steps == [f"broker {step}" for step in ("prepare", "inject", "observed", "heal", "healed")]
    assert evidence == ["observed was not seen" if fails_at else "observed"] * 3
