"""Damage to the files of a run.

A damaged run is still judged: what its intact lines prove stays proven. The checker decides which violations the
damage leaves unproven.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

MAX_LISTED = 5
"""The most problems listed for one file; the rest are counted."""


@dataclass(slots=True)
class Damage:
    """incomplete: files that lack lines, but whose lines are genuine. altered: files of which any byte may be wrong."""

    incomplete: set[str] = field(default_factory=set)
    altered: set[str] = field(default_factory=set)
    _seen: Counter[str] = field(default_factory=Counter)
    _listed: list[str] = field(default_factory=list)

    def add_incomplete(self, file: str, problem: str) -> None:
        self.incomplete.add(file)
        self._note(file, problem)

    def add_altered(self, file: str, problem: str) -> None:
        self.altered.add(file)
        self._note(file, problem)

    def _note(self, file: str, problem: str) -> None:
        self._seen[file] += 1
        if self._seen[file] <= MAX_LISTED:
            self._listed.append(f"{file}{problem}")

    @property
    def problems(self) -> list[str]:
        """Sentences without their full stop, each with the file and, if known, the line."""
        more = (f"{file} has {n - MAX_LISTED} more such problems" for file, n in self._seen.items() if n > MAX_LISTED)
        return [*self._listed, *more]
