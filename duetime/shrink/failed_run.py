"""A stored run that failed, with the violations to search for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from duetime import registry
from duetime.checker import judge_history
from duetime.errors import BadUsage, NotARun
from duetime.harness.plan.plan import Plan
from duetime.harness.runs.guarantees import not_covered
from duetime.history import load
from duetime.history.format import upgraded
from duetime.interface import Design
from duetime.shrink.kinds import Kind, gravest, ops_by_kind


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """A run that was judged again. found: the ops of its violations, by kind."""

    run_dir: Path
    plan: Plan
    design: Design
    design_name: str
    outcome: str
    found: dict[Kind, list[str]]


def stored_run(run_dir: Path) -> StoredRun:
    """Judge the run in `run_dir`, by the guarantees that its design states today.

    Raises:
        NotARun: `run_dir` holds no run, or one that this version cannot read.
        BadUsage: its design cannot be loaded.
    """
    history = load(run_dir)
    try:
        written = upgraded(json.loads((run_dir / "plan.json").read_bytes()))
        plan, design_name = Plan.from_json(written), str(written.get("loaded_as", written["design"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise NotARun(
            f"{run_dir / 'plan.json'} is not a plan that this version can read: {type(error).__name__} {error}."
        ) from error
    design, results = registry.load(design_name), judge_history(history)
    uncovered = not_covered(design.guarantees, plan, history, results)
    return StoredRun(
        run_dir=run_dir,
        plan=plan,
        design=design,
        design_name=design_name,
        outcome=results.outcome,
        found=ops_by_kind(history, results, uncovered),
    )


def failed_run(run_dir: Path) -> StoredRun:
    """The failed run in `run_dir`, or the only run below it.

    Raises:
        BadUsage: there are several, it did not fail, or its design cannot be loaded.
        NotARun: `run_dir` holds no run, or one that this version cannot read.
    """
    run = stored_run(_one_run(run_dir))
    if not run.found:
        raise BadUsage(f"{run.run_dir}: the verdict is {run.outcome}, and only a run that failed can be shrunk")
    return run


def _one_run(directory: Path) -> Path:
    """`directory`, or the only run below it."""
    below = [] if (directory / "plan.json").exists() else sorted(plan.parent for plan in directory.rglob("plan.json"))
    if len(below) > 1:
        raise BadUsage(f"there are {len(below)} runs below {directory}; name one that failed, such as {below[0]}")
    return below[0] if below else directory


def chosen_kind(run: StoredRun, label: str | None) -> Kind:
    """The kind of violation to search for: the gravest, or the gravest with `label`.

    Raises:
        BadUsage: the run shows none with `label`.
    """
    wanted = {kind: ops for kind, ops in run.found.items() if label in (None, kind.label)}
    if not wanted:
        shown = ", ".join(sorted({kind.label for kind in run.found}))
        raise BadUsage(f"--kind {label}: {run.run_dir} shows no such violation; write one of {shown}")
    return gravest(wanted)
