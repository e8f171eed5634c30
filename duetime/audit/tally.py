"""What an audit counts, in a memory that does not grow with the data."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from duetime.audit.lateness import Hours, Lateness


@dataclass(frozen=True, slots=True, order=True)
class Example:
    """One violation, or one notification of which the data proves nothing.

    at_ns: of the delivery; of a missed notification, its deadline. evidence: source and line.
    """

    at_ns: int
    key: str
    revision: int | None
    label: str
    evidence: tuple[str, ...] = field(compare=False)
    explanation: str = field(compare=False)


@dataclass(slots=True)
class Tally:
    """Counts by label and state, and by reason why something is unknown, with the earliest examples of each."""

    keep: int
    counts: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    promises: int = 0
    repeated: int = 0
    owed: int = 0
    owed_delivered: int = 0
    deliveries: int = 0
    matched: int = 0
    several_without_revision: int = 0
    lateness: Lateness = field(default_factory=lambda: Lateness(64))
    hours: Hours = field(default_factory=Hours)
    _examples: dict[str, list[Example]] = field(default_factory=lambda: defaultdict(list))

    def wants(self, kind: str, at_ns: int) -> bool:
        """Return True if an example of `kind` at this instant may be among the earliest."""
        kept = self._examples[kind]
        return self.keep > 0 and (len(kept) < self.keep or at_ns <= kept[-1].at_ns)

    def add_example(self, kind: str, example: Example) -> None:
        kept = self._examples[kind]
        kept.append(example)
        kept.sort()
        del kept[self.keep :]

    def examples(self) -> dict[str, list[Example]]:
        return {kind: list(kept) for kind, kept in self._examples.items() if kept}
