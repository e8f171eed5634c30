"""One drain of a worker: deliver until nothing is due, with the functions of the design's own package."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from pkgutil import resolve_name

from sqlalchemy import Engine

from duetime import design_modules
from duetime.errors import BadUsage
from duetime.interface import MIGRATION_SEPARATOR
from duetime.runtime.effects import Effects
from duetime.runtime.gateway import Gateway

Work = Callable[[Engine, Gateway, Effects], object]
"""Called in a process of its own; delivers until nothing is due."""


@dataclass(frozen=True, slots=True)
class DrainOnce:
    """work: of each worker of a scope. recover: of the worker that is up at the end, when all others have ended."""

    work: Work
    recover: Work


def _drain(class_name: str) -> DrainOnce:
    """Return a drain of the read model, or of a variant of it."""

    def work(engine: Engine, gateway: Gateway, effects: Effects) -> None:
        drain, connect = resolve_name(class_name), resolve_name("push_readmodel.connection:connect")
        with closing(drain(connect(engine), gateway, effects=effects)) as draining:
            draining.drain_all()

    return DrainOnce(work, work)


def _staged(*, rescues: bool) -> Work:
    """Return a round of the stager, and the execution of what it staged: the broker between them loses nothing.

    rescues: everything that is not finished is scheduled again first.
    """

    def work(engine: Engine, gateway: Gateway, effects: Effects) -> None:
        package = "oban_style_queue.variants.staged"
        rescue, stage, execute = (resolve_name(f"{package}:{name}") for name in ("rescue", "stage", "execute"))
        if rescues:
            rescue(engine, after=timedelta())
        published: list[int] = []
        stage(engine, published.append)
        for job in published:
            execute(engine, gateway, job, effects=effects)

    return work


DRAINS: Mapping[str, DrainOnce] = {
    "push_readmodel": _drain("push_readmodel.drain:Drain"),
    "push_readmodel:delete_first": _drain("push_readmodel.variants.delete_first:DrainDeletingFirst"),
    "oban_style_queue:staged": DrainOnce(
        # No job of a scope executes for so long that it would be rescued.
        work=_staged(rescues=False),
        recover=_staged(rescues=True),
    ),
}
"""The designs of this project that keep everything in PostgreSQL, and whose workers do nothing but deliver."""
MIGRATION = "push_readmodel-to-oban_style_queue:staged"
"""The migration that can be explored: both of its designs can."""


def drains_of(design: str) -> Sequence[DrainOnce]:
    """Return the drain of a design: one of `DRAINS`, or the attribute ``drain_once`` of its file.

    A design ``OLD-to-NEW`` has two; the attribute of its file is a sequence.

    Raises:
        BadUsage: it has none, with what to write.
    """
    if MIGRATION_SEPARATOR in design:
        return [drain for each in design.split(MIGRATION_SEPARATOR) for drain in drains_of(each)]
    if design in DRAINS:
        return [DRAINS[design]]
    file = Path(design.partition(":")[0])
    if file.suffix == ".py":
        found = getattr(design_modules.load_file(file), "drain_once", None)
        if callable(found):
            return [DrainOnce(found, found)]
        if found:
            return [found] if isinstance(found, DrainOnce) else list(found)
    raise BadUsage(
        f"{design} cannot be explored; the designs that can are {', '.join(DRAINS)}; in a file of your own, define "
        "drain_once(engine, gateway, effects), which delivers until nothing is due"
    )
