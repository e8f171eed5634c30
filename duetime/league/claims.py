"""Each library's own sentences about its guarantees, and what the runs say of them.

``contenders/NAME/claims.toml`` has a table for each::

    [[claims]]
    says = "Jobs may be called more than once!"
    source = "https://arq-docs.helpmanual.io/"
    refuted_by = ["lost", "stuck"]
    scenarios = ["crash*"]
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from duetime.checker import VIOLATIONS
from duetime.errors import BadUsage
from duetime.league.matrix import Judged
from duetime.league.why import kinds
from duetime.report.contender_mechanisms import PARTS_OF_MISSED
from duetime.shell_command import shell_command

FILE = "claims.toml"
KINDS = {*VIOLATIONS, *PARTS_OF_MISSED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A sentence of a library's documentation.

    source: its address. refuted_by: kinds of violations that contradict it. scenarios: patterns of those that try it.
    variant: `default` or `tuned`; empty for both. not_tested: why no run can say anything about it.
    """

    entrant: str
    says: str
    source: str
    refuted_by: Sequence[str] = ()
    scenarios: Sequence[str] = ("*",)
    variant: str = ""
    not_tested: str = ""


def claims_of(folder: Path) -> list[Claim]:
    """Return the claims in a contender's folder; none without the file.

    Raises:
        BadUsage: one cannot be read, with what is wrong.
    """
    path = folder / FILE
    if not path.exists():
        return []
    return [_claim(folder.name, found, path) for found in tomllib.loads(path.read_text()).get("claims", [])]


def verdict(claim: Claim, judged: Judged) -> str:
    """Return *held in N runs*, *refuted by* a command, or *not tested, because*."""
    if claim.not_tested:
        return f"not tested, because {claim.not_tested}"
    tried = [
        (place, cell)
        for place, cell in judged
        if place.entrant == claim.entrant
        and claim.variant in ("", place.variant)
        and cell.outcome in ("pass", "fail")
        and any(fnmatchcase(place.scenario.name, pattern) for pattern in claim.scenarios)
    ]
    if not tried:
        return f"not tested, because no run of {', '.join(claim.scenarios)} was judged"
    refuting = [(place, cell) for place, cell in tried if not kinds(cell).keys().isdisjoint(claim.refuted_by)]
    if not refuting:
        return f"held in {len(tried)} run{'s' if len(tried) != 1 else ''}"
    place, _ = refuting[0]
    command = shell_command("run", place.design.name, place.scenario.name, "--seed", str(place.seed))
    return f"refuted in {len(refuting)} of {len(tried)} runs, for instance by `{command}`"


def _claim(entrant: str, found: dict[str, Any], path: Path) -> Claim:
    try:
        claim = Claim(entrant=entrant, **found)
    except TypeError as error:
        raise BadUsage(f"{path}: cannot read {found}: {error}") from error
    if wrong := set(claim.refuted_by) - KINDS:
        raise BadUsage(f"{path}: {', '.join(sorted(wrong))} is none of {', '.join(sorted(KINDS))}")
    if not claim.refuted_by and not claim.not_tested:
        raise BadUsage(f"{path}: {claim.says!r} needs refuted_by, or not_tested with the reason")
    return claim
