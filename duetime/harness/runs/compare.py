"""Runs designs × scenarios × seeds; the designs of a scenario run side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from duetime.checker import Results, judge_history, write_results
from duetime.errors import DuetimeError, Interrupted, NotARun
from duetime.harness.plan.scenario import Scenario
from duetime.harness.runs.applicability import not_applicable_reason
from duetime.harness.runs.batch import Batch, Progress
from duetime.harness.runs.cell import Cell, Outcome, remarks
from duetime.harness.runs.context import RunContext
from duetime.harness.runs.guarantees import explained, not_covered
from duetime.harness.runs.run import Run
from duetime.harness.runs.spec import RunSpec
from duetime.history import History, load
from duetime.interface import Design

OnJudged = Callable[[Path, History, Results], None]
"""Called with each judged run, from the threads of the runs, while its history is in memory."""

AT_ONCE_WITH_NEXT = 6
"""The most runs of two successive batches together if the second starts its processes before the first is over.
Measured with six on two cores: three designs that still deliver, and three that start."""


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
) -> Generator[Cell]:
    """Run every cell; yield the cells in a fixed order, each as soon as it is judged. Close it to stop all runs.

    designs: by the name under which a process can load them again. side_by_side: how many run at once, by default as
    many as the scenario allows. on_judged: its errors are ignored.
    """
    batches = _batches(designs, scenarios, seeds, context=context, out=out, side_by_side=side_by_side)
    yield from _in_succession(batches, progress, on_judged)


def run_side_by_side(
    specs: Sequence[RunSpec],
    progress: Progress = lambda *_: None,
    on_judged: OnJudged = lambda *_: None,
) -> list[Cell]:
    """Run `specs` at the same time, each in a slot of its own, and judge them."""
    return list(_in_succession([specs], progress, on_judged))


def _batches(
    designs: Mapping[str, Design],
    scenarios: Sequence[Scenario],
    seeds: Sequence[int],
    *,
    context: RunContext,
    out: Path,
    side_by_side: int | None,
) -> Iterator[Sequence[RunSpec]]:
    names = list(designs)
    for scenario in scenarios:
        for seed in seeds:
            at_once = side_by_side or scenario.side_by_side
            plan = scenario.plan(seed)
            for first in range(0, len(names), at_once):
                yield [
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


def _in_succession(batches: Iterable[Sequence[RunSpec]], progress: Progress, on_judged: OnJudged) -> Generator[Cell]:
    """Run each batch after the one before; where both fit, start its processes while that one ends."""
    running: list[tuple[Sequence[RunSpec], Batch]] = []
    run_one = partial(_run_one, on_judged=on_judged)
    try:
        for specs in batches:
            before = running[-1] if running else None
            overlaps = before is not None and _may_overlap(before[0], specs)
            if before and overlaps:
                before[1].nearly_over.wait(specs[0].context.stop)
            elif before:
                yield from before[1].cells()
                running.clear()
            batch = Batch(specs, run_one, progress, after=before[1] if before and overlaps else None)
            running.append((specs, batch))
            batch.start()
            if len(running) > 1:
                yield from running[0][1].cells()
                del running[0]
        for _, batch in running:
            yield from batch.cells()
    except BaseException:
        # Ctrl-C or SIGTERM, raised here in the main thread, or the caller's, which closes this generator.
        for _, batch in running:
            batch.abandon()
        raise


def _may_overlap(before: Sequence[RunSpec], after: Sequence[RunSpec]) -> bool:
    """Return True if the processes of `after` may start before `before` is over."""
    plans = [spec.plan for spec in (before[0], after[0])]
    # A numbered database of the user's own broker belongs to one run at a time, and so does a run's name.
    alone = not before[0].context.services.embedded or before[0].name == after[0].name
    return (
        not alone
        and len(before) + len(after) <= AT_ONCE_WITH_NEXT
        and not any(plan.profile.measures_capacity for plan in plans)
    )


def _run_one(spec: RunSpec, batch: Batch, report: Callable[[str], None], *, on_judged: OnJudged) -> Cell:
    try:
        return _carry_out_and_judge(spec, batch, report, on_judged)
    except Interrupted:
        raise
    except Exception as error:  # noqa: BLE001 - every run needs a cell, also after a defect of ours
        explanation = f"the run could not be judged: {type(error).__name__}: {error}"
        return _cell(spec, "unknown", explanation=explanation)


def _carry_out_and_judge(spec: RunSpec, batch: Batch, report: Callable[[str], None], on_judged: OnJudged) -> Cell:
    if reason := not_applicable_reason(spec.plan, spec.design, spec.context.services):
        batch.leave()
        return _cell(spec, "not applicable", explanation=reason)
    run = Run(spec, progress=report)
    failure = ""
    try:
        run.carry_out(batch.agree_on_start)
    except Interrupted:
        raise
    except Exception as error:  # noqa: BLE001 - what the run recorded is judged, and the other runs continue
        batch.leave()
        text = str(error) if isinstance(error, DuetimeError) else f"{type(error).__name__}: {error}"
        failure = f"The run could not be carried out: {text}\n"
    if not run.has_directory:
        # There may be another run's directory in its place, which is not to be judged as this one's.
        return _cell(spec, "unknown", explanation=failure)
    try:
        history = load(spec.directory)
    except NotARun:
        return _cell(spec, "unknown", explanation=failure)
    results = judge_history(history)
    write_results(results, spec.directory)
    with suppress(Exception):
        on_judged(spec.directory, history, results)
    uncovered = not_covered(spec.design.guarantees, spec.plan, history, results)
    return _cell(
        spec,
        results.outcome,
        explanation=failure + explained(results, uncovered) + remarks(run.unverified, run.disorderly_exits),
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
        loaded_as=spec.design_name,
        plan_hash=spec.plan.hash(),
        unproven=bool(results and results.unknown_because),
    )
