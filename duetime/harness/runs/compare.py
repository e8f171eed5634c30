"""The main job: designs × scenarios × seeds, each cell a run of its own, the designs of a scenario side by side."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from duetime.checker import DELIVERY_VIOLATIONS, Results, judge, judge_history, write_results
from duetime.errors import DuetimeError, Interrupted, NotARun
from duetime.harness.plan.plan import Plan
from duetime.harness.plan.scenario import Scenario
from duetime.harness.processes.cleanup import kill_owned
from duetime.harness.runs.applicability import not_applicable_reason
from duetime.harness.runs.context import RunContext
from duetime.harness.runs.run import Run
from duetime.harness.runs.start_barrier import StartBarrier
from duetime.history import History, load
from duetime.history.format import upgraded
from duetime.interface import Design, Guarantees

Outcome = Literal["pass", "fail", "unknown", "not applicable"]

VIOLATIONS: tuple[str, ...] = ("missed", *DELIVERY_VIOLATIONS)

Progress = Callable[[str, str, str], None]
"""Called with scenario, design and phase, from the threads of the runs."""
Look = Callable[[Path, History, Results], None]
"""Called with each stored run that was judged, from the same threads, while its history is in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What one design did in one scenario under one seed.

    promised: whether that is what the design promises; None where the run proves nothing.
    counts, lateness_s: of the results, which may be a million notifications large and are in the run directory; empty
    where there are none.
    """

    design: str
    scenario: str
    seed: int
    outcome: Outcome
    within_guarantees: bool | None
    explanation: str
    weakness: str
    run_dir: Path
    counts: Mapping[str, int] = field(default_factory=dict)
    lateness_s: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "design": self.design,
            "scenario": self.scenario,
            "seed": self.seed,
            "outcome": self.outcome,
            "within_guarantees": self.within_guarantees,
            "counts": self.counts,
            "lateness_s": self.lateness_s,
            "explanation": self.explanation,
            "weakness": self.weakness,
            "run_dir": str(self.run_dir),
        }


ORDERLY = {"deploy", "worker_added", "worker_removed", "clock", "old_transaction", "gateway_slow", "client_kill"}
"""Faults that interrupt no delivery: at least and at most once hold under them."""


def permitted(guarantees: Guarantees, plan: Plan) -> Collection[str]:
    """The violations that a design with this promise never claimed to be free of under these circumstances."""
    found: set[str] = set()
    kinds = {fault.kind for fault in plan.faults}
    if guarantees.delivery == "nothing":
        found |= {"missed", "duplicate", "late"}
    elif kinds - ORDERLY:
        found.add("duplicate" if guarantees.delivery == "at_least_once" else "missed")
    if not guarantees.cancels and kinds:
        found |= {"phantom", "stale"}
    if not guarantees.transactional and "client_kill" in kinds:
        found.add("missed")
    if guarantees.as_durable_as == "broker":
        if "broker_kill" in kinds and plan.environment.broker_persistence != "aof":
            found |= {"missed", "duplicate"}
        if plan.longest_horizon_s() > plan.environment.visibility_timeout_s:
            found.add("duplicate")
    if plan.profile.measures_capacity:
        found |= {"late", "missed"}
    if guarantees.due_by == "workers" and "clock" in kinds:
        found |= {"early", "late"}
    return found


def violations(results: Results) -> set[str]:
    """What `results` accuse the design of; of a delivery that broke several rules, every one that no fault explains."""
    found = {label for label in VIOLATIONS if results.counts[label]}
    for delivery in results.labelled:
        if delivery.label in VIOLATIONS:
            found |= {"early", "phantom", "stale", "duplicate"} & set(delivery.also)
    return found


def kept(guarantees: Guarantees, plan: Plan, results: Results) -> bool | None:
    """Whether `results` are within what was promised; None where they prove nothing."""
    return None if results.outcome == "unknown" else violations(results) <= set(permitted(guarantees, plan))


def stored_cell(run_dir: Path, *, weakness: str = "") -> Cell:
    """The cell of a run that is over, judged again from its files alone.

    Raises:
        NotARun: there is none in `run_dir`, or another version of duetime made it.
    """
    results = judge(run_dir)
    try:
        written = upgraded(json.loads((run_dir / "plan.json").read_bytes()))
        plan, guarantees = Plan.from_json(written), Guarantees(**written["guarantees"])
        design = str(written["design"])
    except (KeyError, TypeError, AttributeError) as error:
        raise NotARun(
            f"{run_dir / 'plan.json'} is not a plan of this version: {type(error).__name__} {error}."
        ) from error
    return Cell(
        design=design,
        scenario=plan.scenario,
        seed=plan.seed,
        outcome=results.outcome,
        within_guarantees=kept(guarantees, plan, results),
        explanation=results.explanation + _unseen(run_dir),
        weakness=weakness,
        run_dir=run_dir,
        counts=results.counts,
        lateness_s=results.lateness_s,
    )


def compare(
    designs: Mapping[str, Design],
    scenarios: Sequence[Scenario],
    seeds: Sequence[int],
    *,
    context: RunContext,
    out: Path,
    progress: Progress,
    side_by_side: int | None = None,
    look: Look = lambda *_: None,
) -> Iterator[Cell]:
    """Run every cell; give each scenario's cells as soon as they are judged.

    designs: by the name under which a process can load them again. side_by_side: how many at once, if not as many as
    the scenario says. look: may fail, and changes nothing.
    """
    names = list(designs)
    for scenario in scenarios:
        for seed in seeds:
            at_once = side_by_side or scenario.side_by_side
            for first in range(0, len(names), at_once):
                together = {name: designs[name] for name in names[first : first + at_once]}
                yield from _side_by_side(together, scenario.plan(seed), context, out, progress, look)


def _side_by_side(
    designs: Mapping[str, Design], plan: Plan, context: RunContext, out: Path, progress: Progress, look: Look
) -> list[Cell]:
    line = StartBarrier(len(designs), context.stop)
    cells: dict[str, Cell] = {}

    def one(slot: int, name: str, design: Design) -> None:
        directory = out / plan.scenario / f"{design.name.replace(':', '-')}-seed{plan.seed}"
        report = partial(progress, plan.scenario, design.name)
        run = Run(design, plan, directory, design_name=name, context=context, slot=slot, progress=report)
        try:
            cells[name] = _cell(run, design, plan, line, context, look)
        except Interrupted:
            pass
        except Exception as error:  # noqa: BLE001 - no cell may go missing without a word
            explanation = f"the run could not be judged: {type(error).__name__}: {error}"
            cells[name] = _new_cell(run, design, plan, "unknown", explanation=explanation)
        finally:
            report("done")

    threads = [
        threading.Thread(target=one, args=(slot, name, design), name=f"{plan.scenario}/{name}")
        for slot, (name, design) in enumerate(designs.items())
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(timeout=0.2)
    except BaseException:
        # Ctrl-C or SIGTERM, raised here in the main thread: nobody needs an orderly end any more.
        context.stop.set()
        kill_owned(context.tempdir)
        for thread in threads:
            thread.join()
        raise
    return [cells[name] for name in designs if name in cells]


def _cell(run: Run, design: Design, plan: Plan, line: StartBarrier, context: RunContext, look: Look) -> Cell:
    if explanation := not_applicable_reason(plan, design, context.services):
        line.withdraw()
        return _new_cell(run, design, plan, "not applicable", explanation=explanation)
    broke = ""
    try:
        run.carry_out(line.wait)
    except Interrupted:
        raise
    except Exception as error:  # noqa: BLE001 - a run that broke off spoils no other, and what it recorded still counts
        line.withdraw()
        text = str(error) if isinstance(error, DuetimeError) else f"{type(error).__name__}: {error}"
        broke = f"The run could not be carried out: {text}\n"
    try:
        history = load(run.directory)
    except NotARun:
        return _new_cell(run, design, plan, "unknown", explanation=broke)
    results = judge_history(history)
    write_results(results, run.directory)
    with suppress(Exception):
        look(run.directory, history, results)
    within_guarantees = kept(design.guarantees, plan, results)
    explanation = broke + results.explanation + _unseen(run.directory)
    return _new_cell(
        run,
        design,
        plan,
        results.outcome,
        explanation=explanation,
        within_guarantees=within_guarantees,
        results=results,
    )


def _unseen(directory: Path) -> str:
    """Why a fault was not seen to bite or to heal, where the run says so."""
    try:
        unverified = json.loads((directory / "closed.json").read_text())["unverified"]
    except (OSError, ValueError, KeyError):
        return ""
    return "".join(f" Not seen: {why}." for why in unverified)


def _new_cell(
    run: Run,
    design: Design,
    plan: Plan,
    outcome: Outcome,
    *,
    explanation: str,
    within_guarantees: bool | None = None,
    results: Results | None = None,
) -> Cell:
    return Cell(
        design=design.name,
        scenario=plan.scenario,
        seed=plan.seed,
        outcome=outcome,
        within_guarantees=within_guarantees,
        explanation=explanation.strip(),
        weakness=design.weakness,
        run_dir=run.directory,
        counts=results.counts if results else {},
        lateness_s=results.lateness_s if results else {},
    )
