"""What each entrant of the league is: where it keeps jobs, in which languages it is called and works.

A library states it in ``contenders/NAME/facts.toml``, beside the versions that it runs with; this project's designs in
``ours.toml``, beside this file. What a run shows is not here.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from duetime import contenders
from duetime.errors import BadUsage
from duetime.league.matrix import table_name

FILE = "facts.toml"
OURS = Path(__file__).with_name("ours.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The facts of one entrant, each a short text.

    title: the name that its makers use. home: the address of its documentation. store: the server that keeps its jobs.
    worker: the language of its workers. callers: the languages that can schedule, such as ``Python`` or ``any with
    SQL``. reschedule: how a notification gets another due time. unique_key: what keeps a key from being scheduled
    twice; ``none`` if nothing does.
    """

    title: str
    home: str
    store: str
    worker: str
    callers: str
    reschedule: str
    unique_key: str


def facts_of(design: str) -> Facts:
    """Return the facts of a design, by its name, such as ``contender:rq:tuned``.

    Raises:
        BadUsage: they are missing, or one of them is.
    """
    name, _, variant = table_name(design).partition(":")
    if name in ours():
        return _checked({**ours()[name], **ours()[name]["variants"].get(variant, {})}, f"{OURS.name}: {design}")
    path = contenders.folder(name) / FILE
    if not path.exists():
        raise BadUsage(f"{path} is missing; write {', '.join(_names())} into it, as in contenders/rq/{FILE}")
    return _checked(tomllib.loads(path.read_text()), str(path))


@cache
def ours() -> Mapping[str, Mapping[str, Any]]:
    """The designs of this project that take part, with their facts."""
    return tomllib.loads(OURS.read_text())


def _checked(found: Mapping[str, Any], where: str) -> Facts:
    texts = {name: found.get(name) for name in _names()}
    if missing := [name for name, text in texts.items() if not isinstance(text, str) or not text]:
        raise BadUsage(f"{where} has no {', '.join(missing)}; each is a short text")
    return Facts(**{name: str(text) for name, text in texts.items()})


def _names() -> list[str]:
    return [field.name for field in fields(Facts)]
