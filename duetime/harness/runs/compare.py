"""Runs designs × scenarios × seeds; the designs of a scenario run side by side."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from duetime.checker import Results, judge_history, write_results
from duetime.errors import DuetimeError, Interrupted, NotARun
from duetime.harness.plan.scenario import Scenario
from duetime.harness.processes.cleanup import kill_owned
from duetime.harness.runs.applicability import not_applicable_reason
from duetime.harness.runs.cell import Cell, Outcome, remarks
from duetime.harness.runs.context import RunContext
from duetime.harness.runs.guarantees import not_covered, remark_on
from duetime.harness.runs.run import Run
from duetime.harness.runs.spec import RunSpec
from duetime.harness.runs.start_barrier import StartBarrier
from duetime.history import History, load
from duetime.interface import Design

Progress = Callable[[str, str, str], None]
"""Called with scenario, design and phase, from the threads of the runs."""
OnJudged = Callable[[Path, History, Results], None]
"""Called with each judged run, from the threads of the runs, while its history is in memory."""


def compare(
    designs: Mapping[str, Design],
    scenarios: Sequence[Scenario],
    seeds: Sequence[int],
    *,
    context: RunContext,
    out: Path,
    progress: Progress,
    side_by_side: int | None = None,
    on_judged: OnJudged = lambda *_: None,
) -> Iterator[Cell]:
    """Run every cell; yield the cells of each scenario as soon as they are judged.

    designs: by the name under which a process can load them again. side_by_side: how many run at once, by default as
    many as the scenario allows. on_judged: its errors are ignored.
    """
    for scenario in scenarios:
        for seed in seeds:
            at_once = side_by_side or scenario.side_by_side
            plan = scenario.plan(seed)
            names = list(designs)
            for first in range(0, len(names), at_once):
                specs = [
                    RunSpec(
                        design=designs[name],
                        design_name=name,
                        plan=plan,
                        directory=out / plan.scenario / f"{designs[name].name.replace(':', '-')}-seed{seed}",
                        slot=slot,
                        context=context,
                    )
                    for slot, name in enumerate(names[first : first + at_once])
                ]
                yield from run_side_by_side(specs, context, progress, on_judged)


def run_side_by_side(
    specs: Sequence[RunSpec],
    context: RunContext,
    progress: Progress = lambda *_: None,
    on_judged: OnJudged = lambda *_: None,
) -> list[Cell]:
    """Run `specs` at the same time, each in a slot of its own, and judge them."""
    barrier = StartBarrier(len(specs), context.stop)
    cells: dict[int, Cell] = {}

    def run_one(spec: RunSpec) -> None:
        report = partial(progress, spec.plan.scenario, spec.design.name)
        try:
            cells[spec.slot] = _carry_out_and_judge(spec, barrier, report, on_judged)
        except Interrupted:
            pass
        except Exception as error:  # noqa: BLE001 - every run needs a cell, also after a defect of ours
            explanation = f"the run could not be judged: {type(error).__name__}: {error}"
            cells[spec.slot] = _cell(spec, "unknown", explanation=explanation)
        finally:
            report("done")

    threads = [
        threading.Thread(target=run_one, args=(spec,), name=f"{spec.plan.scenario}/{spec.design_name}")
        for spec in specs
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(timeout=0.2)
    except BaseException:
        # Ctrl-C or SIGTERM, raised here in the main thread.
        context.stop.set()
        kill_owned(context.tempdir)
        for thread in threads:
            thread.join()
        raise
    return [cells[spec.slot] for spec in specs if spec.slot in cells]


def _carry_out_and_judge(
    spec: RunSpec, barrier: StartBarrier, report: Callable[[str], None], on_judged: OnJudged
) -> Cell:
    if reason := not_applicable_reason(spec.plan, spec.design, spec.context.services):
        barrier.leave()
        return _cell(spec, "not applicable", explanation=reason)
    run = Run(spec, progress=report)
    failure = ""
    try:
        run.carry_out(barrier.wait)
    except Interrupted:
        raise
    except Exception as error:  # noqa: BLE001 - what the run recorded is judged, and the other runs continue
        barrier.leave()
        text = str(error) if isinstance(error, DuetimeError) else f"{type(error).__name__}: {error}"
        failure = f"The run could not be carried out: {text}\n"
    try:
        history = load(spec.directory)
    except NotARun:
        return _cell(spec, "unknown", explanation=failure)
    results = judge_history(history)
    write_results(results, spec.directory)
    with suppress(Exception):
        on_judged(spec.directory, history, results)
    uncovered = not_covered(spec.design.guarantees, spec.plan, history, results)
    remark = remark_on(uncovered) + remarks(run.unverified, run.disorderly_exits)
    return _cell(
        spec,
        results.outcome,
        explanation=failure + results.explanation + remark,
        results=results,
        within_guarantees=None if uncovered is None else not uncovered,
    )


def _cell(
    spec: RunSpec,
    outcome: Outcome,
    *,
    explanation: str,
    results: Results | None = None,
    within_guarantees: bool | None = None,
) -> Cell:
    return Cell(
        design=spec.design.name,
        scenario=spec.plan.scenario,
        seed=spec.plan.seed,
        outcome=outcome,
        within_guarantees=within_guarantees,
        explanation=explanation.strip(),
        weakness=spec.design.weakness,
        run_dir=spec.directory,
        slow=spec.plan.slow,
        counts=results.counts if results else {},
        lateness_s=results.lateness_s if results else {},
        violations=Counter(violation.label for violation in results.violations) if results else {},
    )
