"""The main job: designs × scenarios × seeds, each cell a run of its own, the designs of a scenario side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from duetime.checker import Results, judge, write_results
from duetime.errors import DuetimeError, Interrupted
from duetime.harness.keeper import sweep
from duetime.harness.plan import Plan
from duetime.harness.run import Run
from duetime.harness.scenarios import Scenario
from duetime.harness.services import Services
from duetime.harness.startline import StartLine
from duetime.harness.stopping import StopSignal
from duetime.interface import Design, Promise

Outcome = Literal["pass", "fail", "unknown", "not applicable"]

VIOLATIONS = ("missed", "duplicate", "early", "late", "phantom", "stale")

Progress = Callable[[str, str, str], None]
"""Called with scenario, design and phase, from the threads of the runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What one design did in one scenario under one seed.

    promised: whether that is what the design promises; None where the run proves nothing.
    """

    design: str
    scenario: str
    seed: int
    outcome: Outcome
    promised: bool | None
    explanation: str
    weakness: str
    run_dir: Path
    results: Results | None

    def to_json(self) -> dict[str, Any]:
        results = self.results.to_json() if self.results else {}
        return {
            "design": self.design,
            "scenario": self.scenario,
            "seed": self.seed,
            "outcome": self.outcome,
            "promised": self.promised,
            "counts": results.get("counts", {}),
            "lateness_s": results.get("lateness_s", {}),
            "explanation": self.explanation,
            "weakness": self.weakness,
            "run_dir": str(self.run_dir),
        }


def permitted(promise: Promise, *, faulted: bool) -> Collection[str]:
    """The violations that a design with this promise never claimed to be free of."""
    if promise.delivery == "nothing":
        return VIOLATIONS
    if not faulted:
        return ()
    of_delivery = ("duplicate",) if promise.delivery == "at_least_once" else ("missed",)
    return of_delivery if promise.cancels else (*of_delivery, "phantom", "stale")


def compare(
    designs: Mapping[str, Design],
    scenarios: Sequence[Scenario],
    seeds: Sequence[int],
    *,
    out: Path,
    place: Path,
    services: Services,
    versions: Mapping[str, str],
    stop: StopSignal,
    progress: Progress,
) -> Iterator[Cell]:
    """Run every cell; give each scenario's cells as soon as they are judged.

    designs: by the name under which a process can load them again.
    """
    for scenario in scenarios:
        for seed in seeds:
            yield from _side_by_side(
                designs,
                scenario.plan(seed),
                out=out,
                place=place,
                services=services,
                versions=versions,
                stop=stop,
                progress=progress,
            )


def _side_by_side(
    designs: Mapping[str, Design],
    plan: Plan,
    *,
    out: Path,
    place: Path,
    services: Services,
    versions: Mapping[str, str],
    stop: StopSignal,
    progress: Progress,
) -> list[Cell]:
    line = StartLine(len(designs), stop)
    cells: dict[str, Cell] = {}

    def one(slot: int, name: str, design: Design) -> None:
        directory = out / plan.scenario / f"{design.name.replace(':', '-')}-seed{plan.seed}"

        def report(phase: str) -> None:
            progress(plan.scenario, design.name, phase)

        run = Run(
            design,
            plan,
            directory,
            design_name=name,
            services=services,
            versions=versions,
            place=place,
            slot=slot,
            stop=stop,
            progress=report,
        )
        try:
            cells[name] = _cell(run, design, plan, line)
        except Interrupted:
            pass
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
        stop.set()
        sweep(place)
        for thread in threads:
            thread.join()
        raise
    return [cells[name] for name in designs if name in cells]


def _cell(run: Run, design: Design, plan: Plan, line: StartLine) -> Cell:
    def cell(outcome: Outcome, promised: bool | None, explanation: str, results: Results | None) -> Cell:
        return Cell(
            design=design.name,
            scenario=plan.scenario,
            seed=plan.seed,
            outcome=outcome,
            promised=promised,
            explanation=explanation,
            weakness=design.weakness,
            run_dir=run.directory,
            results=results,
        )

    if plan.faults and not design.roles:
        line.withdraw()
        return cell("not applicable", None, "this design runs no server that the fault could hit", None)
    try:
        run.carry_out(line.wait)
    except Interrupted:
        raise
    except Exception as error:  # noqa: BLE001 - a run that broke says nothing about the design, and spoils no other
        line.withdraw()
        text = str(error) if isinstance(error, DuetimeError) else f"{type(error).__name__}: {error}"
        return cell("unknown", None, f"the run could not be carried out: {text}", None)
    results = judge(run.directory)
    write_results(results, run.directory)
    promised = None
    if results.outcome != "unknown":
        found = {label for label in VIOLATIONS if results.counts[label]}
        promised = found <= set(permitted(design.promise, faulted=bool(plan.faults)))
    return cell(results.outcome, promised, results.explanation, results)
