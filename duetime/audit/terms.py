"""What an audit is judged by, and the two readings of its times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from duetime.audit.times import S_NS, shown
from duetime.checker.obligations import Excuses
from duetime.history import RecordedProfile

ASSUMPTIONS: Final[Mapping[str, str]] = {
    "complete": "every promise of a delivery is in the data",
    "no-cancels": "nothing is cancelled, or a cancel deletes its row",
    "accepted-early": "a promise without an accepted time was accepted before it was due",
}
"""What the data may not show, and the user may know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The numbers by which an audit is judged, in nanoseconds; fixed before it reads a row.

    clock_tolerance_ns: the most by which a recorded time differs from the time at which it took effect.
    outages: first and last instant of each. recovery_ns: excused after each of them.
    from_ns, to_ns: between these instants every delivery is in the data; None to take it from the data.
    """

    lateness_limit_ns: int = 60 * S_NS
    early_tolerance_ns: int = S_NS // 20
    in_flight_ns: int = 5 * S_NS
    clock_tolerance_ns: int = S_NS
    outages: tuple[tuple[int, int], ...] = ()
    recovery_ns: int = 60 * S_NS
    from_ns: int | None = None
    to_ns: int | None = None
    assumed: frozenset[str] = field(default_factory=frozenset)

    def to_json(self) -> dict[str, Any]:
        return {
            "lateness_limit_s": self.lateness_limit_ns / S_NS,
            "early_tolerance_s": self.early_tolerance_ns / S_NS,
            "in_flight_allowance_s": self.in_flight_ns / S_NS,
            "clock_tolerance_s": self.clock_tolerance_ns / S_NS,
            "recovery_s": self.recovery_ns / S_NS,
            "outages": [{"from": shown(start), "to": shown(end)} for start, end in self.outages],
            "assumed": sorted(self.assumed),
        }


class Reading:
    """One reading of the recorded times.

    tolerance_ns: 0 takes them as they are. The clock tolerance widens each by it, so that a violation in this reading
    is one whatever the clocks showed. same_time_ns: a cancel that is less than this before a delivery may be after it.
    """

    def __init__(self, terms: Terms, *, tolerance_ns: int) -> None:
        self.tolerance_ns = tolerance_ns
        self.clock_tolerance_ns = terms.clock_tolerance_ns
        # Both clocks may be wrong; more than the in-flight allowance would hide deliveries after a cancel.
        self.same_time_ns = min(2 * terms.clock_tolerance_ns, terms.in_flight_ns)
        self.accepted_early = "accepted-early" in terms.assumed
        self.profile = RecordedProfile(
            early_tolerance_ns=terms.early_tolerance_ns + tolerance_ns,
            lateness_limit_ns=terms.lateness_limit_ns + tolerance_ns,
            in_flight_allowance_ns=terms.in_flight_ns + tolerance_ns,
            recovery_budget_ns={},
            as_written={},
        )
        after_ns = terms.recovery_ns + tolerance_ns
        self.excused = Excuses(((), (start - tolerance_ns, end + after_ns)) for start, end in terms.outages)
