"""Kinds of violations: a smaller plan counts only if it shows the same kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from duetime.checker import VIOLATIONS, Results, place_of_missed
from duetime.history import History
from duetime.history.assemble import FAULTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What was violated, and whether the design's guarantees cover it.

    place: where a missed notification is: lost, stuck or failed; empty for the others, and where nobody knows.
    covered: by the guarantees; None if the design has stated none.
    under_fault: whether a fault was in force. A violation under a fault is not looked for without one, because a poller
    on a busy machine also misses some that no fault hit.
    """

    label: str
    place: str = ""
    covered: bool | None = None
    under_fault: bool = False

    def __str__(self) -> str:
        place = f" ({self.place})" if self.place else ""
        return f"{self.label.replace('_', ' ')}{place}"

    def is_shown_by(self, seen: Observed) -> bool:
        """Return True if a run that showed `seen` shows a violation of this kind; an unknown one does not."""
        wanted = (self.label, self.place, self.covered)
        alike = [one for one in seen or () if (one.label, one.place, one.covered) == wanted]
        return any(one.under_fault or not self.under_fault for one in alike)

    @property
    def promise(self) -> str:
        """What the violation says about the guarantees, in words."""
        if self.covered is None:
            return "the design has stated no guarantee"
        return "the design's guarantees allow it" if self.covered else "it breaks the design's guarantees"


Observed: TypeAlias = "frozenset[Kind] | None"
"""The kinds of violations that one run shows; None if the run proves nothing."""


def ops_by_kind(history: History, results: Results, uncovered: Collection[str] | None) -> dict[Kind, list[str]]:
    """The ops of the violations of one run, by kind.

    uncovered: the violations that no guarantee covers, each as its label and op; None if none are stated.
    """
    pending = history.closed.pending if history.closed else None
    found: dict[Kind, list[str]] = {}
    for violation in results.violations:
        missed = violation.label == "missed" and pending is not None
        kind = Kind(
            label=violation.label,
            place=place_of_missed((pending or {}).get(violation.op)) if missed else "",
            covered=None if uncovered is None else f"{violation.label} {violation.op}" not in uncovered,
            under_fault=any(line.startswith(FAULTS) for line in violation.evidence),
        )
        found.setdefault(kind, []).append(violation.op)
    return found


def observed(history: History, results: Results, uncovered: Collection[str] | None) -> Observed:
    """The kinds of violations that a judged run shows; None if it proves nothing."""
    return None if results.outcome == "unknown" else frozenset(ops_by_kind(history, results, uncovered))


def gravest(found: dict[Kind, list[str]]) -> Kind:
    """The kind to shrink by default: one that breaks a guarantee, else the gravest label, else the most frequent."""
    counts = Counter({kind: len(ops) for kind, ops in found.items()})
    order: Sequence[str] = VIOLATIONS
    return min(found, key=lambda kind: (kind.covered is True, order.index(kind.label), -counts[kind], kind.place))
