"""A mechanism: the cause of a violation, the setting behind it, the fix, and what its maintainers know of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from duetime.pages import DOCS

POLLERS: Final = ("pull_worker", "pull_worker:*")
PLAIN_QUEUE: Final = ("oban_style_queue", "celery:*")
"""The generic queue, also with the settings of somebody's own application."""
ROW_AND_ETA: Final = ("oban_style_queue:hardened", "oban_style_queue:soft_shutdown")
"""A task with an ETA in a worker's memory, and a row that says whether it is wanted."""
SHRUNK: Final = "-shrunk"
"""At the end of the name of a scenario's plan from which `duetime shrink` has taken away what is not needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mechanism:
    """One mechanism.

    designs, scenarios, labels: patterns of what it explains; a label is a violation, or a place of what was missed.
    setting: the one that decides it, with its default; empty where none does. fix: what to change, in your own code;
    empty where the checker's general advice is all there is. upstream: where its maintainers write about it; empty if
    they do not. better: a design without it. page: by default `section`, an anchor in docs/findings.md.
    """

    designs: Sequence[str]
    labels: Sequence[str]
    cause: str
    section: str = ""
    scenarios: Sequence[str] = ("*",)
    setting: str = ""
    fix: str = ""
    upstream: str = ""
    better: str = ""
    page: str = ""

    def __post_init__(self) -> None:
        if not self.page:
            object.__setattr__(self, "page", f"{DOCS}/findings.md#{self.section}")

    def explains(self, design: str, scenario: str, labels: Iterable[str]) -> bool:
        return (
            any(fnmatchcase(design, pattern) for pattern in self.designs)
            and any(fnmatchcase(scenario.removesuffix(SHRUNK), pattern) for pattern in self.scenarios)
            and not set(self.labels).isdisjoint(labels)
        )
