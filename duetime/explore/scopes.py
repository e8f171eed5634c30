"""The scopes: small executions, of which every interleaving is carried out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from duetime.errors import BadUsage
from duetime.interface import MIGRATION_SEPARATOR

DUE_AT = "2020-01-01T00:00:00+00:00"
"""Overdue, and the same in every interleaving, because a design may store it where it counts for the state."""
MIGRATION = "migration"
"""The participant that switches from one design to another, and moves what is pending."""
EFFECT_KIND = "explored-effect"
EFFECTS_TABLE_NAME = "explored_effects"
STATEMENTS = {EFFECT_KIND: f"INSERT INTO {EFFECTS_TABLE_NAME} (op, worker) VALUES (%(op)s, %(worker)s)"}  # noqa: S608
"""The effect of a scope about effects inside the database: a row for each execution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of an application. kind: of the notification."""

    verb: Literal["schedule", "cancel"]
    key: str
    revision: int
    kind: str = "explored"

    @property
    def op(self) -> str:
        return f"{self.key}/{self.revision}"


Transaction = tuple[Call, ...]
"""The calls of one transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """what: the scope in a few words. before: acknowledged before anything else begins, and due already.

    applications: for each, its transactions, one after another. failing: the ops whose first delivery the gateway
    refuses. crashes, cuts: how many workers may be killed, or lose their connections, each at any step. migrates: a
    migration takes place, for designs ``OLD-to-NEW``; its workers are the old one's; the new one's is up at the end.
    """

    name: str
    what: str
    before: Transaction
    workers: int = 2
    applications: Sequence[Sequence[Transaction]] = ()
    crashes: int = 0
    cuts: int = 0
    failing: frozenset[str] = frozenset()
    migrates: bool = False

    def participants(self) -> list[str]:
        return [*self.worker_names(), *self.application_names(), *([MIGRATION] if self.migrates else ())]

    def worker_names(self) -> list[str]:
        return [f"worker-{number}" for number in range(1, self.workers + 1)]

    def application_names(self) -> list[str]:
        return [f"app-{number}" for number in range(1, len(self.applications) + 1)]

    def calls(self) -> list[Call]:
        """Every call, in the order of each application."""
        return [*self.before, *(call for app in self.applications for transaction in app for call in transaction)]


def _schedule(key: str, revision: int, kind: str = "explored") -> Call:
    return Call(verb="schedule", key=key, revision=revision, kind=kind)


def _cancel(key: str, revision: int) -> Call:
    return Call(verb="cancel", key=key, revision=revision)


ONE = (_schedule("k", 1),)
SCOPES: Mapping[str, Scope] = {
    scope.name: scope
    for scope in (
        Scope(name="two_workers", what="two workers and one due row", before=ONE),
        Scope(
            name="reschedule",
            what="two workers, one due row, and an application that reschedules it",
            before=ONE,
            applications=[[(_schedule("k", 2),)]],
        ),
        Scope(
            name="cancel",
            what="two workers, one due row, and an application that cancels it",
            before=ONE,
            applications=[[(_cancel("k", 2),)]],
        ),
        Scope(
            name="both",
            what="two workers, one due row, and an application that reschedules and then cancels it",
            before=ONE,
            applications=[[(_schedule("k", 2),), (_cancel("k", 3),)]],
        ),
        Scope(
            name="second_key",
            what="two workers, two due rows, and an application that reschedules one of them",
            before=(_schedule("k", 1), _schedule("m", 1)),
            applications=[[(_schedule("k", 2),)]],
        ),
        Scope(
            name="failing_delivery",
            what="two workers, one due row whose first delivery fails, and an application that reschedules it",
            before=ONE,
            applications=[[(_schedule("k", 2),)]],
            failing=frozenset({"k/1"}),
        ),
        Scope(name="crash", what="two workers, one due row; one worker is killed", before=ONE, crashes=1),
        Scope(name="cut", what="two workers, one due row; the connection of one worker is cut", before=ONE, cuts=1),
        Scope(
            name="reschedule_crash",
            what="two workers, one due row, an application that reschedules it; one worker is killed",
            before=ONE,
            applications=[[(_schedule("k", 2),)]],
            crashes=1,
        ),
        Scope(
            name="cancel_crash",
            what="two workers, one due row, an application that cancels it; one worker is killed",
            before=ONE,
            applications=[[(_cancel("k", 2),)]],
            crashes=1,
        ),
        Scope(
            name="schedule_many",
            what="two workers, two due rows, and an application that reschedules both in one call",
            before=(_schedule("k", 1), _schedule("m", 1)),
            applications=[[(_schedule("k", 2), _schedule("m", 2))]],
        ),
        Scope(
            name="two_applications",
            what="two workers, two due rows; one application reschedules one of them, another cancels the other",
            before=(_schedule("k", 1), _schedule("m", 1)),
            applications=[[(_schedule("k", 2),)], [(_cancel("m", 2),)]],
        ),
        Scope(
            name="effect_crash",
            what="two workers, one due row with an effect inside the database; one worker is killed",
            before=(_schedule("k", 1, EFFECT_KIND),),
            crashes=1,
        ),
        Scope(
            name="migration",
            what="a worker of the old design, one due row, the migration, and an application that reschedules the row",
            before=ONE,
            workers=1,
            applications=[[(_schedule("k", 2),)]],
            migrates=True,
        ),
        Scope(
            name="migration_cancel",
            what="a worker of the old design, one due row, the migration, and an application that cancels the row",
            before=ONE,
            workers=1,
            applications=[[(_cancel("k", 2),)]],
            migrates=True,
        ),
    )
}
SMALLEST = ("two_workers", "cancel")


def scopes_for(design: str, names: Sequence[str]) -> list[Scope]:
    """Return the scopes `names` for the design of the name `design`; without names, all that it can be explored in.

    Raises:
        BadUsage: a scope is unknown, or of no use for the design.
    """
    fitting = {name: scope for name, scope in SCOPES.items() if scope.migrates == (MIGRATION_SEPARATOR in design)}
    for name in names:
        if scope_named(name).name not in fitting:
            raise BadUsage(f"{design} cannot be explored in the scope {name!r}; its scopes are {', '.join(fitting)}")
    return [fitting[name] for name in names or fitting]


def scope_named(name: str) -> Scope:
    """Return the scope `name`.

    Raises:
        BadUsage: there is none.
    """
    if name not in SCOPES:
        raise BadUsage(f"there is no scope {name!r}; the scopes are {', '.join(SCOPES)}")
    return SCOPES[name]


def call_to_json(call: Call) -> dict[str, Any]:
    return {
        "verb": call.verb, "key": call.key, "revision": call.revision, "kind": call.kind, "due_at": DUE_AT,
    }  # fmt: skip
