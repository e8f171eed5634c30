"""When the processes of the next scenario may start, in the run of the scenario before."""

from __future__ import annotations

from pathlib import Path

import pytest

from duetime import registry
from duetime.harness.plan.lookup import named
from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.processes.services import Services
from duetime.harness.runs.context import RunContext
from duetime.harness.runs.run import NEXT_STARTS_S, Run
from duetime.harness.runs.spec import RunSpec

UNTIL_NS = 100 * 10**9


class RecordingToken(CancelToken):
    """Sleeps not at all, and notes until when it would."""

    def __init__(self) -> None:
        super().__init__()
        self.until_ns: list[int] = []

    def sleep_until(self, mono_ns: int) -> None:
        self.until_ns.append(mono_ns)


def waited(scenario: str, healed_ns: int, tmp_path: Path) -> tuple[list[int], list[str]]:
    """Until when a run waits before it says that it is nearly over, and what it says."""
    token, phases = RecordingToken(), list[str]()
    context = RunContext(tmp_path, Services(tmp_path), {}, token)
    design, plan = registry.load("reference"), named(scenario).plan(1)
    spec = RunSpec(design=design, design_name=design.name, plan=plan, directory=tmp_path, slot=0, context=context)
    Run(spec, progress=phases.append)._wait_until_nearly_over(healed_ns, UNTIL_NS)
    return token.until_ns, phases


@pytest.mark.parametrize(("scenario", "healed_s"), [("calm", 0), ("crash", 20)])
def test_it_is_a_while_before_the_last_deadline(scenario: str, healed_s: int, tmp_path: Path) -> None:
    waits, phases = waited(scenario, healed_s * 10**9, tmp_path)

    assert (waits, phases) == ([UNTIL_NS - int(NEXT_STARTS_S * 1e9)], ["waiting"])


def test_it_is_not_before_the_recovery_from_a_fault_whose_healing_took_long(tmp_path: Path) -> None:
    healed_ns = UNTIL_NS - 3 * 10**9
    budget_ns = int(named("crash").plan(1).profile.recovery_budget_s["kill"] * 1e9)

    waits, phases = waited("crash", healed_ns, tmp_path)

    assert (waits, phases) == ([healed_ns + budget_ns], ["waiting"])


def test_a_run_that_measures_capacity_does_not_say_so(tmp_path: Path) -> None:
    assert waited("burst", 0, tmp_path) == ([], [])
