"""The specification of one run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from duetime.harness.plan.plan import Plan
from duetime.harness.runs.context import RunContext
from duetime.interface import Design


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """One design, one plan, one run directory.

    design_name: the name by which a process loads the design again: a registered name or ``file.py:attribute``.
    slot: the number of this run among the runs side by side.
    """

    design: Design
    design_name: str
    plan: Plan
    directory: Path
    slot: int
    context: RunContext

    @property
    def name(self) -> str:
        """Unique among the runs side by side."""
        return f"{self.plan.scenario}-{self.slot}-{self.plan.seed}"

    @property
    def state(self) -> Path:
        """The temporary directory for the state of the run's processes."""
        return self.context.tempdir / self.name
