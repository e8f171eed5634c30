"""What a rule says: a setting, what follows from it, and what to do instead."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["warning", "info"]
Scenario = Literal[
    "broker_blip_long",
    "crash",
    "far_flood",
    "long_horizon",
    "more_servers",
    "move_and_cancel",
    "poison",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One consequence of one setting.

    value: as found, in Python's spelling.
    is_default: Celery ships with this value, so that nobody need have chosen it.
    scenario: where duetime lets it happen; none, if nothing bad would.
    see: upstream's own threads about it.
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

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
