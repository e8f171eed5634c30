"""Who takes part: the installed libraries and this project's designs, each with its defaults and tuned."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from duetime import contenders, registry
from duetime.errors import UnknownName
from duetime.interface import Design
from duetime.league.facts import ours
from duetime.report.contender_mechanisms import TUNED


def entrants() -> list[Design]:
    """Return every design that can run here, in the order of the names of libraries and designs."""
    return [design for name in entrant_names() if not not_here(name) for design in variants_of(name)]


def all_entrants() -> list[Design]:
    """Return every design, also those whose library is not installed here."""
    return [design for name in entrant_names() for design in variants_of(name)]


def entrant_names() -> list[str]:
    """Return the names of all libraries and of this project's designs, sorted."""
    return sorted([*contenders.names(), *ours()])


def full_name(name: str) -> str:
    """Return the design's own name, for its name in the tables: ``contender:rq:tuned`` for ``rq:tuned``."""
    return f"{contenders.PREFIX}{name}" if name.partition(":")[0] in contenders.names() else name


def not_here(name: str) -> str:
    """Return what this machine lacks to run the entrant `name`, and how to get it; empty if nothing."""
    return "" if name in ours() else contenders.missing(name)


def variants_of(name: str) -> Sequence[Design]:
    """Return an entrant's designs: the defaults first."""
    if name in ours():
        return [registry.load(name), *(registry.load(f"{name}:{variant}") for variant in ours()[name]["variants"])]
    found = [registry.load(f"{contenders.PREFIX}{name}")]
    with suppress(UnknownName):
        found.append(registry.load(f"{contenders.PREFIX}{name}:{TUNED}"))
    return found
