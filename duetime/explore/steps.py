"""A step: what one participant can do next, while all others stand still."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["statement", "delivery", "kill", "cut"]
FAULTS = ("kill", "cut")
"""The death of a worker, and the end of its connection."""


@dataclass(frozen=True, slots=True)
class Step:
    """A choice of the search, equal in every replay.

    actor: who takes it. session: the number of its connection; 0 for a delivery or a fault. number: how many steps the
    actor has taken before. label: what the step is, in a few words.
    """

    actor: str
    session: int
    number: int
    kind: Kind
    label: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
