"""Effects: SQL statements that run in the application's database when they are due, instead of a delivery."""

from __future__ import annotations

from collections.abc import Mapping
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from duetime.errors import BadUsage

if TYPE_CHECKING:
    from duetime.interface import Notification
    from duetime.settings import Settings


class Effects:
    """The effects of an application, by kind of notification.

    statements: one SQL statement per kind, with ``%(…)s`` for the payload's fields, ``op`` and ``worker``.
    """

    def __init__(self, statements: Mapping[str, str], *, worker: str) -> None:
        self._statements = statements
        self._worker = worker

    def of(self, notification: Notification) -> tuple[str, dict[str, Any]] | None:
        """Return the statement of `notification` and its parameters; None if the notification is to be delivered."""
        statement = self._statements.get(notification.kind)
        if statement is None:
            return None
        return statement, {**notification.payload, "op": notification.op, "worker": self._worker}


NO_EFFECTS = Effects({}, worker="")


def effects_from(settings: Settings) -> Effects:
    """Return the effects named by ``settings.effects``.

    Raises:
        BadUsage: the name cannot be resolved.
    """
    try:
        statements = resolve_name(settings.effects) if settings.effects else {}
    except (ImportError, AttributeError, ValueError) as error:
        raise BadUsage(f"DUETIME_EFFECTS is {settings.effects!r}; write package.module:attribute ({error})") from error
    return Effects(statements, worker=settings.worker)
