"""Faults in the order of their times, also where one begins before another is over."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from duetime.clock import Instant
from duetime.demo.session import SharedFault
from duetime.faults.fault import FaultNotVerified, Sleeper
from duetime.harness.plan.plan import PlannedFault
from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.runs.nemesis import Nemesis


class Noted:
    """A fault that only writes down what is done to it."""

    def __init__(self, name: str, told: list[str], *, fails_at: str = "") -> None:
        self._name, self._told, self._fails_at = name, told, fails_at

    def prepare(self, _stop: Sleeper) -> str:
        return self._tell("aim")

    def inject(self) -> None:
        self._tell("inject")

    def verify_injected(self, _stop: Sleeper) -> str:
        return self._tell("observe")

    def heal(self) -> None:
        self._tell("heal")

    def verify_healed(self, _stop: Sleeper) -> str:
        return self._tell("healed")

    def _tell(self, step: str) -> str:
        self._told.append(f"{self._name} {step}")
        if step == self._fails_at:
            raise FaultNotVerified(f"{step} was not seen")
        if f"{step}!" == self._fails_at:
            raise OSError(step)
        return step


def planned(name: str, inject_s: float, heal_s: float) -> PlannedFault:
    return PlannedFault(fault=name, kind="kill", target="all", inject_s=inject_s, heal_s=heal_s)


def conducted(tmp_path: Path, *faults: PlannedFault, fails_at: str = "") -> tuple[list[str], Nemesis]:
    told: list[str] = []
    nemesis = Nemesis(
        lambda fault: Noted(fault.fault, told, fails_at=fails_at), lambda: "", tmp_path / "faults.jsonl", CancelToken()
    )
    try:
        nemesis.carry_out(faults, Instant(wall_ns=0, mono_ns=time.monotonic_ns()))
    except OSError:
        told.append("broke off")
    nemesis.close()
    return told, nemesis


def test_faults_that_overlap_begin_and_end_in_the_order_of_their_times(tmp_path: Path) -> None:
    told, _ = conducted(tmp_path, planned("a", 0.0, 0.06), planned("b", 0.02, 0.04))

    assert told == [f"{name} {step}" for name, step in [
        ("a", "aim"), ("a", "inject"), ("a", "observe"), ("b", "aim"), ("b", "inject"), ("b", "observe"),
        ("b", "heal"), ("b", "healed"), ("a", "heal"), ("a", "healed")]]  # fmt: skip
    phases = [json.loads(line)["phase"] for line in (tmp_path / "faults.jsonl").read_text().splitlines()]
    assert phases == ["inject", "observed"] * 2 + ["heal", "healed"] * 2


def test_one_that_lasts_for_no_time_at_all_begins_before_it_ends(tmp_path: Path) -> None:
    told, _ = conducted(tmp_path, planned("a", 0.01, 0.01))

    assert told[0] == "a aim" and told[-1] == "a healed"


def test_one_that_was_not_seen_to_bite_is_healed_all_the_same(tmp_path: Path) -> None:
    told, nemesis = conducted(tmp_path, planned("a", 0.0, 0.01), fails_at="observe")

    assert told[-2:] == ["a heal", "a healed"]
    assert nemesis.unverified == ["a (kill all): observe was not seen"]


def test_whatever_had_begun_is_healed_when_something_breaks(tmp_path: Path) -> None:
    told, _ = conducted(tmp_path, planned("a", 0.0, 1.0), planned("b", 0.0, 1.0), fails_at="observe!")

    assert told[-2:] == ["a heal", "broke off"]


@pytest.mark.parametrize("fails_at", ["", "observe"])
def test_a_fault_that_several_share_happens_once_and_after_all_have_aimed(fails_at: str) -> None:
    told: list[str] = []
    shared = SharedFault(Noted("broker", told, fails_at=fails_at), sharers=3)
    seen: list[str] = []

    def sharer() -> None:
        shared.prepare(CancelToken())
        shared.inject()
        try:
            seen.append(shared.verify_injected(CancelToken()))
        except FaultNotVerified as why:
            seen.append(str(why))
        shared.heal()
        shared.verify_healed(CancelToken())

    threads = [threading.Thread(target=sharer) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert told == [f"broker {step}" for step in ("aim", "inject", "observe", "heal", "healed")]
    assert seen == ["observe was not seen" if fails_at else "observe"] * 3
