"""What this machine can do, found out by doing it: one run in which every kind of fault is injected once."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from duetime import registry
from duetime.errors import DuetimeError, HarnessError
from duetime.faults.fault import FAULT_KINDS, FaultKind
from duetime.faults.mechanisms import faketime, network_namespace
from duetime.harness.plan.plan import PlannedFault, Profile
from duetime.harness.plan.scenario import Scenario
from duetime.harness.plan.workload import unchanged_events
from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.processes.cleanup import run_tempdir
from duetime.harness.processes.external_services import without_password
from duetime.harness.processes.services import Services
from duetime.harness.runs.applicability import OF_OUR_OWN
from duetime.harness.runs.context import RunContext
from duetime.harness.runs.run import Run
from duetime.harness.runs.start_barrier import StartBarrier

SUBJECT = "push_readmodel"
"""Who has to suffer it: it uses both the database and the broker."""
TARGETS: Mapping[FaultKind, str] = {
    "kill": "worker-1",
    "deploy": "all",
    "pause": "worker-1",
    "worker_added": "worker-2",
    "worker_removed": "worker-1",
    "clock": "worker-1",
    "client_kill": "client-0",
    "database_kill": "database",
    "old_transaction": "database",
    "broker_kill": "broker",
    "cut": "broker",
    "refuse": "broker",
    "freeze": "broker",
}
"""What each kind is done to; else the gateway."""
ORDER: tuple[FaultKind, ...] = (
    *("client_kill", "gateway_slow", "gateway_refuse", "gateway_hang", "gateway_lose_answer"),
    *("freeze", "refuse", "cut", "broker_kill"),
)
"""First: while a client surely has something left to commit, while something is left to be delivered, and while
somebody is connected to the broker."""
EVERY_S = 1.7
LASTS_S = 1.5


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that runs need: whether it works here, and what was seen."""

    what: str
    ok: bool
    detail: str


def examine() -> Iterator[Check]:
    """Start both servers and say what answers; then injure processes and servers of our own in every way there is."""
    yield Check("python", sys.version_info >= (3, 11), sys.version.split()[0])
    with run_tempdir() as tempdir:
        services = Services(tempdir)
        try:
            context = RunContext(tempdir, services, services.prepare(side_by_side=1), CancelToken())
            with services.for_run("doctor", 0) as endpoints:
                database, broker = without_password(endpoints.database_url), without_password(endpoints.broker_url)
            yield Check("PostgreSQL", True, f"{context.versions['postgresql']} answers at {database}")
            yield Check("Valkey or Redis", True, f"{context.versions['broker']} answers at {broker}")
            yield from _faults(context)
        except (DuetimeError, OSError) as error:
            yield Check("PostgreSQL and Valkey", False, str(error))


def _faults(context: RunContext) -> Iterator[Check]:
    cannot = {
        kind: reason for kind in get_args(FaultKind) if (reason := _not_injectable_reason(kind, context.services))
    }
    # A partition is cut and mended by the question already, on a server of its own.
    tried = [kind for kind in get_args(FaultKind) if kind not in cannot and kind != "partition"]
    # A server is removed last: there is none after it.
    tried.sort(key=lambda kind: ORDER.index(kind) if kind in ORDER else len(ORDER) + (kind == "worker_removed"))
    seen = _seen(tried, context)
    for kind in get_args(FaultKind):
        what = f"fault {kind} ({FAULT_KINDS[kind].title})"
        if kind in cannot:
            yield Check(what, False, cannot[kind])
        elif kind == "partition":
            yield Check(what, True, "a server on a network of its own was cut off, and reached again")
        else:
            yield Check(what, kind in seen, seen.get(kind, "it was injected, and not seen both to bite and to heal"))


def _not_injectable_reason(kind: FaultKind, services: Services) -> str | None:
    if kind in OF_OUR_OWN and not services.own:
        return "not done to servers of your own; unset DUETIME_DATABASE_URL and DUETIME_BROKER_URL"
    question = {"clock": faketime.unavailable, "partition": network_namespace.unavailable}.get(kind)
    return question() if question else None


def _seen(kinds: list[FaultKind], context: RunContext) -> dict[str, str]:
    """One run with one fault of each of `kinds`; the evidence that each bit, for those that did and were healed."""
    everything = Scenario(
        name="every-fault-once",
        what="everything goes wrong, one thing after another",
        demonstrates="what this machine can do",
        hardest_for="everybody",
        operations=lambda random: unchanged_events(random, seconds=int(len(kinds) * EVERY_S) + 14, horizon_s=2),
        faults=tuple(
            PlannedFault(
                fault=kind,
                kind=kind,
                target=TARGETS.get(kind, "gateway"),
                inject_s=1.0 + number * EVERY_S,
                heal_s=1.0 + number * EVERY_S + LASTS_S,
                size_s=0.5,
            )
            for number, kind in enumerate(kinds)
        ),
        profile=Profile(lateness_limit_s=0.0, grace_s=0.0),
    )
    directory = context.tempdir / "every-fault-once"
    design = registry.load(SUBJECT)
    run = Run(design, everything.plan(1), directory, design_name=SUBJECT, context=context, slot=0)
    with suppress(HarnessError):
        # What was seen until then was seen.
        run.carry_out(StartBarrier(1, context.stop).wait)
    return evidence(directory / "faults.jsonl")


def evidence(faults: Path) -> dict[str, str]:
    """What was seen of each fault that both bit and healed, by its kind."""
    records = [json.loads(line) for line in faults.read_text().splitlines()]
    healed = {record["fault"] for record in records if record["phase"] == "healed"}
    seen = [record for record in records if record["phase"] == "observed" and record["fault"] in healed]
    return {record["kind"]: record["evidence"] for record in seen}
