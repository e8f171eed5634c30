"""A verdict, as a value and as results.json."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from duetime.checker.labels import VIOLATIONS, Label, Labelled
from duetime.checker.obligations import Obligation
from duetime.checker.states import State
from duetime.checker.violations import Violation
from duetime.history.format import FORMAT

Outcome = Literal["pass", "fail", "unknown"]
Percentiles = dict[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What one history proves.

    run: design, scenario, seed and plan hash. obligations, states: of each scheduled revision, by op.
    labelled: in the order of the lines of deliveries.jsonl.
    """

    run: Mapping[str, Any]
    outcome: Outcome
    unknown_because: list[str]
    counts: dict[str, int]
    lateness_s: dict[str, Percentiles]
    service: Mapping[str, int]
    cancel_latency_s: Percentiles
    revision_latency_s: Percentiles
    vacuity: list[dict[str, Any]]
    profile: Mapping[str, Any]
    violations: list[Violation]
    obligations: Mapping[str, Obligation]
    states: dict[str, State]
    labelled: list[Labelled]

    @property
    def explanation(self) -> str:
        """One line for a table; empty for a pass."""
        return self.explained(self.violations)

    def explained(self, examples: Sequence[Violation]) -> str:
        """The explanation, with the gravest of `examples`, which are some of the violations."""
        if self.outcome == "pass":
            return ""
        if self.outcome == "unknown":
            return f"Unknown: {self.unknown_because[0]}."
        # Not from `counts`: what may or may not repeat is counted, and no violation.
        counts = Counter(violation.label for violation in self.violations)
        present = [label for label in VIOLATIONS if counts[label]]
        example = min(examples, key=lambda violation: present.index(violation.label))
        summary = ", ".join(f"{counts[label]} {label}" for label in present)
        if len(self.violations) == 1:
            return f"{summary}. {example.explanation.partition('. ')[2]}"
        return f"{summary}. For example: {example.explanation}"

    def ops_with(self, label: Label | State) -> set[str]:
        """The ops of the violations labelled `label`."""
        return {violation.op for violation in self.violations if violation.label == label}

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            **self.run,
            "outcome": self.outcome,
            "unknown_because": self.unknown_because,
            "explanation": self.explanation,
            "counts": self.counts,
            "lateness_s": self.lateness_s,
            "service": self.service,
            "cancel_latency_s": self.cancel_latency_s,
            "revision_latency_s": self.revision_latency_s,
            "vacuity": self.vacuity,
            "profile": self.profile,
            "violations": [asdict(violation) for violation in self.violations],
        }


def write_results(results: Results, run_dir: Path) -> Path:
    """Write results.json atomically; equal results give equal bytes."""
    path, draft = run_dir / "results.json", run_dir / "results.json.draft"
    draft.write_text(json.dumps(results.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return draft.replace(path)
