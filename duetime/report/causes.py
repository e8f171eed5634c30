"""The violations of many runs, grouped: those of one design that came about in the same way are one cause."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from duetime.checker import Results
from duetime.checker.violations import Violation
from duetime.checker.wording import FAULTS, TARGETS, UNKNOWN_FAULT
from duetime.history import History, RecordedFault

PLACES: Final[Mapping[str, str]] = {
    "lost": "no store of the design holds it any more",
    "stuck": "still held by the design's store",
    "failed": "failed, and not tried again",
}
"""Where a missed notification is."""
WORKER: Final = "a worker"


class Way(NamedTuple):
    """How a violation came about. place: of a missed notification. faults: those in force, in words."""

    design: str
    label: str
    place: str
    faults: tuple[str, ...]


@dataclass(slots=True)
class Cause:
    """A way in which violations came about. runs: how many violations each run has of it; example: the first."""

    way: Way
    example: Violation
    example_run: Path
    runs: dict[Path, int] = field(default_factory=dict)
    scenarios: dict[str, None] = field(default_factory=dict)

    @property
    def violations(self) -> int:
        return sum(self.runs.values())

    @property
    def what(self) -> str:
        """What happened, in a few words."""
        during = f" while {' and '.join(self.way.faults)}" if self.way.faults else " without a fault"
        place = f", {PLACES[self.way.place]}" if self.way.place else ""
        return f"{self.way.label}{during}{place}"

    def to_json(self) -> dict[str, Any]:
        return {
            "design": self.way.design,
            "label": self.way.label,
            "place": self.way.place or None,
            "faults": list(self.way.faults),
            "violations": self.violations,
            "runs": len(self.runs),
            "scenarios": list(self.scenarios),
            "example": {
                "run_dir": str(self.example_run),
                "op": self.example.op,
                "explanation": self.example.explanation,
            },
        }


class Causes:
    """Collects the violations of one run after another, and keeps no run in memory."""

    def __init__(self) -> None:
        self._found: dict[Way, Cause] = {}

    def add(self, run_dir: Path, history: History, results: Results) -> None:
        """Add the violations of a run that has been judged."""
        # By line, because the evidence of a violation names the lines of its faults.
        fault_at = {line: fault for fault in history.faults for line in fault.phases.values()}
        pending = history.closed.pending if history.closed else None
        for violation in results.violations:
            way = Way(str(results.run["design"]), violation.label, "", _faults(violation, fault_at))
            if violation.label == "missed" and pending is not None:
                entry = pending.get(violation.op)
                way = way._replace(place="lost" if entry is None else "failed" if entry.state == "failed" else "stuck")
            cause = self._found.setdefault(way, Cause(way, violation, run_dir))
            cause.runs[run_dir] = cause.runs.get(run_dir, 0) + 1
            cause.scenarios[str(results.run["scenario"])] = None

    def largest_first(self) -> list[Cause]:
        """The causes, those of most runs first."""
        return sorted(self._found.values(), key=lambda cause: (-len(cause.runs), -cause.violations))


def _faults(violation: Violation, fault_at: Mapping[int, RecordedFault]) -> tuple[str, ...]:
    lines = (
        int(line) for file, _, line in (item.partition(":") for item in violation.evidence) if file == "faults.jsonl"
    )
    return tuple(sorted({_in_words(fault_at[line]) for line in lines if line in fault_at}))


def _in_words(fault: RecordedFault) -> str:
    """Return what the fault did, without the instants and the name of the worker, which differ from run to run."""
    target = TARGETS.get(fault.target, WORKER if fault.target.startswith("worker-") else fault.target)
    template = "all workers were down" if (fault.kind, fault.target) == ("kill", "all") else FAULTS.get(fault.kind)
    words = (template or UNKNOWN_FAULT).format(
        kind=fault.kind, target=target, was="were" if fault.target == "all" else "was", start="", period=""
    )
    return words.removesuffix(" at ").strip()
