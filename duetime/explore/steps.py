"""A step: what one participant can do next, while all others wait."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["statement", "delivery", "kill", "cut"]
FAULTS = ("kill", "cut")
"""The death of a worker, and the end of its connection."""


@dataclass(frozen=True, slots=True)
class Step:
    """A choice of the search, equal in every replay.

    participant: its name. session: the number of its connection; 0 for a delivery or a fault. number: how many steps
    the participant has taken before. label: what the step is, in a few words.
    """

    participant: str
    session: int
    number: int
    kind: Kind
    label: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
