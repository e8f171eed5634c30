"""What is wrong with a run's files, kept apart from what they say.

A damaged run is never refused: what its whole lines prove stays proven. It is the checker that decides which
accusations the damage undermines.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

LISTED = 5
"""Problems spelled out for each file; a file of garbage would otherwise drown the verdict."""


@dataclass(slots=True)
class Damage:
    """incomplete: files that lack lines, while the lines they have can be believed. altered: files that cannot."""

    incomplete: set[str] = field(default_factory=set)
    altered: set[str] = field(default_factory=set)
    _seen: Counter[str] = field(default_factory=Counter)
    _listed: list[str] = field(default_factory=list)

    def lacks(self, file: str, problem: str) -> None:
        self.incomplete.add(file)
        self._note(file, problem)

    def differs(self, file: str, problem: str) -> None:
        self.altered.add(file)
        self._note(file, problem)

    def _note(self, file: str, problem: str) -> None:
        self._seen[file] += 1
        if self._seen[file] <= LISTED:
            self._listed.append(f"{file}{problem}")

    @property
    def problems(self) -> list[str]:
        """Sentences that name the file and, where there is one, the line."""
        more = (f"{file} has {n - LISTED} more such problems" for file, n in self._seen.items() if n > LISTED)
        return [*self._listed, *more]
