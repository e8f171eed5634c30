"""Places and cells of the league, made by hand."""

from __future__ import annotations

from pathlib import Path

from duetime import registry
from duetime.checker import VIOLATIONS
from duetime.harness.plan import lookup
from duetime.harness.runs.cell import Cell, Outcome
from duetime.league.matrix import Place


def judged(
    design: str,
    scenario: str = "calm",
    seed: int = 1,
    *,
    outcome: Outcome | None = None,
    explanation: str = "",
    **counts: int,
) -> tuple[Place, Cell]:
    """A place and its cell, which fails if it has violations."""
    violations = {label: count for label, count in counts.items() if label in VIOLATIONS}
    cell = Cell(
        design=design,
        scenario=scenario,
        seed=seed,
        outcome=outcome or ("fail" if violations else "pass"),
        within_guarantees=True,
        explanation=explanation,
        weakness="",
        run_dir=Path("nowhere"),
        counts=counts,
        violations=violations,
        lateness_s={"raw": {"p50": 0.01 * seed, "p99": 0.1 * seed, "max": 1.0}},
    )
    return Place(registry.load(design), lookup.named(scenario), seed), cell
