"""Each kind of fault takes effect when it is injected; otherwise the outcome of its run is unknown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import cast, get_args

import pytest

from duetime import reference
from duetime.faults.fault import FAULT_KINDS, Fault, FaultKind, Sleeper
from duetime.harness.plan.plan import Environment, Plan, PlannedFault, Profile, Replication
from duetime.harness.plan.scenario import Scenario
from duetime.harness.plan.workload import simultaneous_event, unchanged_events
from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.processes.cleanup import run_tempdir
from duetime.harness.processes.fork_server import fork_server
from duetime.harness.processes.services import Services
from duetime.harness.runs import run
from duetime.harness.runs.cell import Cell
from duetime.harness.runs.compare import compare
from duetime.harness.runs.context import RunContext
from duetime.harness.runs.doctor import UNAVAILABLE
from duetime.harness.runs.fault_factory import FaultTargets, make_fault
from tests.commands import duetime

pytestmark = pytest.mark.processes

KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
TARGETS = {
    "kill": "delivering",
    "deploy": "all",
    "deploy_kill": "before_delivery",
    "pause": "delivering",
    "worker_added": "worker-2",
    "worker_removed": "worker-1",
    "clock": "worker-1",
    "client_kill": "client-0",
    "database_kill": "database",
    "failover": "database",
    "old_primary_returns": "database",
    "old_transaction": "database",
    "sessions_terminated": "database",
    "tables_locked": "database",
    "tables_rewritten": "database",
    "connections_used_up": "database",
    "settings_changed": "database",
    "restore": "database",
    "pooler_kill": "pooler",
    "disk_full": "database",
    "memory_limit": "worker-1",
    "descriptors_used_up": "worker-1",
    "broker_kill": "broker",
    "broker_disk_full": "broker",
    "broker_failover": "broker",
    "partition": "broker",
    "cut": "database",
    "refuse": "database",
    "freeze": "database",
    "host_vanishes": "delivering",
    "cut_from_database": "worker-1",
    "cut_from_broker": "worker-1",
    "half_cut": "worker-1",
    "far_database": "database",
    "slow_host": "worker-1",
}
REPLICATION: dict[FaultKind, Replication] = {"failover": "asynchronous", "old_primary_returns": "synchronous"}
SUBJECT = replace(reference.design, uses_broker=True)
"""It does not connect to the broker, but faults of the broker are verified by probes."""


class Small(Scenario):
    """A few seconds with one fault, which excuses nothing after its end."""

    def plan(self, seed: int) -> Plan:
        plan = super().plan(seed)
        return replace(plan, profile=replace(plan.profile, recovery_budget_s={}))


def small(kind: FaultKind) -> Scenario:
    target = TARGETS.get(kind, "gateway")
    fault = PlannedFault(fault="f1", kind=kind, target=target, inject_s=2.0, heal_s=3.2, size_s=0.5)
    failover = PlannedFault(fault="f0", kind="failover", target="database", inject_s=0.3, heal_s=1.4)
    return Small(
        name=kind,
        what="",
        demonstrates="",
        hardest_for="",
        operations=lambda random: [
            *simultaneous_event(due_s=2.3, people=8),
            *unchanged_events(random, seconds=4, horizon_s=2),
        ],
        faults=(failover, fault) if kind == "old_primary_returns" else (fault,),
        # Long enough for a worker that has lost its broker, because these tests are not about lateness.
        profile=Profile(lateness_limit_s=6.0, delivery_time_s=0.05),
        environment=Environment(
            replication=REPLICATION.get(kind, "none"),
            pooler="session" if kind == "pooler_kill" else "none",
            broker_persistence="aof" if kind == "broker_disk_full" else "default",
            broker_replication="asynchronous" if kind == "broker_failover" else "none",
        ),
    )


class Disabled:
    """A fault whose injection does nothing."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault

    def prepare(self, stop: Sleeper) -> str:
        return self._fault.prepare(stop)

    def inject(self) -> None:
        pass

    def verify_injected(self, stop: Sleeper) -> str:
        return self._fault.verify_injected(stop)

    def heal(self) -> None:
        self._fault.heal()

    def verify_healed(self, stop: Sleeper) -> str:
        return self._fault.verify_healed(stop)


def outcomes(out: Path, kinds: Sequence[FaultKind]) -> dict[FaultKind, Cell]:
    """Run the small scenario of each kind, six at a time."""
    with (
        run_tempdir() as tempdir,
        fork_server(tempdir) as clients,
        ThreadPoolExecutor(max_workers=6) as pool,
    ):
        services = Services(tempdir, environment={})
        context = RunContext(tempdir, services, services.prepare(side_by_side=1), CancelToken(), clients)

        def run_small(kind: FaultKind) -> Cell:
            # To its end: a comparison that is left early stops every run of the context.
            [cell] = compare(
                {"reference": SUBJECT}, [small(kind)], [1], context=context, out=out, progress=lambda *_: None
            )
            return cell

        return dict(zip(kinds, pool.map(run_small, kinds), strict=True))


@pytest.fixture(scope="module")
def disabled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[FaultKind, Cell]]:
    with pytest.MonkeyPatch.context() as patch:

        def disabled_maker(targets: FaultTargets) -> Callable[[PlannedFault], Fault]:
            def make(planned: PlannedFault) -> Fault:
                fault = make_fault(planned, targets)
                return Disabled(fault) if planned.fault == "f1" else fault

            return make

        patch.setattr(run, "fault_maker", disabled_maker)
        items = [item for item in request.session.items if isinstance(item, pytest.Function)]
        kinds = [cast(FaultKind, item.callspec.params["kind"]) for item in items if "disabled" in item.fixturenames]
        yield outcomes(tmp_path_factory.mktemp("disabled"), kinds)


def test_the_doctor_verifies_each_kind_of_fault_that_this_machine_can_inject() -> None:
    done = duetime("doctor", "--json")
    findings = {
        finding["what"].split()[1]: finding for finding in json.loads(done.stdout) if "fault" in finding["what"]
    }

    assert set(findings) == set(KINDS)
    for kind, finding in findings.items():
        assert finding["ok"] or (kind in UNAVAILABLE and UNAVAILABLE[kind]() == finding["detail"]), finding
        assert finding["detail"]


# One of each module of faults. The others take a run each, so they are marked full.
EXAMPLES: tuple[FaultKind, ...] = ("kill", "database_kill", "cut", "clock", "gateway_refuse", "client_kill")


@pytest.mark.parametrize(
    "kind", [kind if kind in EXAMPLES else pytest.param(kind, marks=pytest.mark.full) for kind in KINDS]
)
def test_a_fault_that_is_not_injected_leaves_the_run_unknown(disabled: dict[FaultKind, Cell], kind: FaultKind) -> None:
    cell = disabled[kind]
    if kind in UNAVAILABLE and (reason := UNAVAILABLE[kind]()):
        assert cell.outcome == "not applicable"
        pytest.skip(reason)

    assert cell.outcome == "unknown", cell
    assert "its effect was never verified" in cell.explanation


def test_every_kind_of_fault_has_its_own_title_and_a_recovery_budget() -> None:
    assert set(FAULT_KINDS) == set(KINDS)
    assert len({info.title for info in FAULT_KINDS.values()}) == len(KINDS)
    assert all(info.recovery_budget_s > 0 for info in FAULT_KINDS.values())
