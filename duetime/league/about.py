"""What is known of the entrants beside their runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from duetime import contenders
from duetime.league.claims import Claim, claims_of
from duetime.league.entrants import not_here
from duetime.league.facts import Facts, facts_of
from duetime.league.matrix import table_name
from duetime.league.objections import Objection, objections_of
from duetime.league.speeds import Speeds


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """facts: by design. absent: what this machine lacks to run an entrant that has no run, by its name."""

    facts: Mapping[str, Facts]
    claims: Sequence[Claim] = ()
    objections: Sequence[Objection] = ()
    absent: Mapping[str, str] = field(default_factory=dict)
    speeds: Speeds | None = None


def read_about(designs: Collection[str], speeds: Speeds | None) -> About:
    """Read what the folders of the libraries say. designs: those with runs.

    Raises:
        BadUsage: a file of theirs cannot be read, with what is wrong.
    """
    ran = {table_name(name).partition(":")[0] for name in designs}
    folders = [contenders.folder(name) for name in contenders.names()]
    return About(
        facts={name: facts_of(name) for name in designs},
        claims=[claim for folder in folders for claim in claims_of(folder)],
        objections=[objection for folder in folders for objection in objections_of(folder)],
        absent={name: missing for name in contenders.names() if name not in ran and (missing := not_here(name))},
        speeds=speeds,
    )
