"""A finding of a rule: a setting, its consequence, and the fix."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["warning", "info", "not judged"]
Scenario = Literal[
    "broker_blip_long",
    "calm",
    "crash",
    "crash_before",
    "deploy_too_slow",
    "downtime",
    "far_flood",
    "late_event",
    "long_horizon",
    "more_servers",
    "move_and_cancel",
    "poison",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One consequence of one setting.

    level: ``not judged`` for what no rule judges; the consequence names it.
    value: the value found, as a Python literal.
    is_default: True if it is the library's default.
    scenario: the scenario that demonstrates it; None if the finding is harmless, or if none does.
    see: upstream issues about it, or its place in the library's source or documentation.
    run: the words of a command that shows it, a run or a test of the library; empty for Celery.
    """

    target: str
    level: Level
    setting: str
    value: str
    is_default: bool
    consequence: str
    fix: str
    scenario: Scenario | None
    see: tuple[str, ...] = ()
    library: str = "Celery"
    run: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
