"""The scenarios of the league: each kind of fault once, because three runs of everything take hours."""

from __future__ import annotations

from collections.abc import Sequence

from duetime.harness.plan import catalogue
from duetime.harness.plan.scenario import Scenario

LEFT_OUT = {
    "backlog": "a longer downtime",
    "crash_after": "crash, with the kill a moment later",
    "broker_blip_short": "a shorter broker_blip_long",
    "boundary": "about windows of time, which only pollers of a main table have",
    "late_event": "about windows of time, too",
    "far_flood": "burst with less that is due at once",
    "use_cases": "calm with other notifications",
    "use_cases_downtime": "downtime with other notifications",
    "wages": "crash, with effects that only designs inside the database execute",
}
"""What a run of the league leaves out if no `--scenarios` are given, and what it would be."""


def of_the_league() -> Sequence[Scenario]:
    """Return the scenarios of a league in the order of the catalogue; `burst`, which runs alone, comes last."""
    chosen = [scenario for scenario in catalogue.FULL if scenario.name not in LEFT_OUT]
    return sorted(chosen, key=lambda scenario: scenario.side_by_side == 1)
