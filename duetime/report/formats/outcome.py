"""What a command found out, whatever the form in which it is written."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from duetime.report.baseline import Compared
from duetime.report.conclusions import verdict, violations_of
from duetime.report.rates import labelled
from duetime.shell_command import shell_command


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One run.

    fails: whether it makes the command fail. scenarios: the names that a command takes; another plan is repeated from
    its file.
    """

    cell: Mapping[str, Any]
    fails: bool
    scenarios: Collection[str]

    @property
    def place(self) -> str:
        """The scenario and the design, as they are printed everywhere."""
        return f"{self.cell['scenario']} / {self.cell['design']}"

    @property
    def finding(self) -> str:
        """What happened in a few words: the verdict, and the violations with their numbers."""
        cell = self.cell
        if cell["outcome"] != "fail":
            return str(cell["outcome"])
        violations = ", ".join(f"{kind} {number}" for kind, number in violations_of(cell).items())
        return f"{verdict(cell)}: {violations}"

    @property
    def repeat(self) -> str:
        """The command that repeats the run."""
        cell = self.cell
        if cell["base"] not in self.scenarios:
            return shell_command("run", cell["loaded_as"], Path(cell["run_dir"]) / "plan.json")
        slow = ("--slow", f"{cell['slow']:g}") if cell["slow"] != 1 else ()
        return shell_command("run", cell["loaded_as"], cell["base"], "--seed", str(cell["seed"]), *slow)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a command found out.

    fails: for each of `cells`, whether it makes the command fail. scenarios: the names that a command takes.
    compared: with a baseline, if one was given.
    runs: the directory in which they are kept. more: further
    members of the JSON value.
    """

    cells: Sequence[Mapping[str, Any]]
    fails: Sequence[bool]
    scenarios: Collection[str]
    runs: Path
    compared: Compared | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> list[Row]:
        pairs = zip(labelled(self.cells), self.fails, strict=True)
        return [Row(cell=cell, fails=fails, scenarios=self.scenarios) for cell, fails in pairs]

    @property
    def conclusion(self) -> str:
        """What a title says: what got worse since the baseline, or without one how many runs failed."""
        return self.verdicts if self.compared is None else self.compared.conclusion

    @property
    def verdicts(self) -> str:
        """How many runs failed. A run that fails and does not make the command fail is one that was to be expected."""
        outcomes = [cell["outcome"] for cell in self.cells if cell["outcome"] != "not applicable"]
        failing = sum(self.fails)
        expected = outcomes.count("fail") - failing
        known = "fail as before" if self.compared else "fail as documented"
        counted = [(failing, "fail"), (expected, known), (outcomes.count("unknown"), "unknown")]
        listed = ", ".join(f"{number} {what}" for number, what in counted if number)
        return f"{_runs(len(outcomes))}: {listed or 'all pass'}"


def _runs(number: int) -> str:
    return f"{number} run{'s' if number != 1 else ''}"
