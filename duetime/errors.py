"""The errors that duetime raises on purpose. A message tells what happened, the value, and what to write instead."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from difflib import get_close_matches


class DuetimeError(Exception):
    """Base class. The command line prints the message of these errors, without a traceback."""


class BadUsage(DuetimeError):
    """Wrong arguments, settings or files; exit status 2."""


class ScheduleRejected(DuetimeError):
    """The notification was not stored and never will be."""


class NaiveDueTime(ScheduleRejected, ValueError):
    """The due time has no time zone."""

    def __init__(self, key: str, due_at: datetime) -> None:
        super().__init__(
            f"due_at of {key!r} is {due_at.isoformat()} without a time zone; write a timezone-aware datetime, "
            "for instance datetime(2030, 1, 1, 9, 0, tzinfo=UTC)"
        )


class BadNotification(ScheduleRejected, ValueError):
    """A field of the notification is outside the limits of ``duetime.limits``."""


class JoinedTransaction(ScheduleRejected):
    """The session has joined a transaction of its connection, and SQLAlchemy reports no commit of that."""

    def __init__(self) -> None:
        super().__init__(
            "this session's commit does not commit: it has joined a transaction that its Connection began, and "
            "nothing tells when that one commits, so nothing is published after it; write Session(engine). A test "
            "that rolls such a transaction back needs a scheduler that only records its calls"
        )


class UnusableSession(ScheduleRejected):
    """The session has no transaction that the call could take part in."""


class RevisionReused(ScheduleRejected, ValueError):
    """The revision is scheduled already with another content. Nothing of this notification was written."""

    def __init__(self, key: str, revision: int, differences: Collection[str]) -> None:
        super().__init__(
            f"revision {revision} of {key!r} is scheduled already with another content: {'; '.join(differences)}. "
            "Write a higher revision for every change"
        )


class StillBeingDelivered(DuetimeError):
    """The notification's row stayed locked. Nothing took effect: roll back, and call again in a new transaction."""

    def __init__(self, what: str, wait: str) -> None:
        super().__init__(
            f"the row of {what} stayed locked for {wait}, or for the session's shorter lock_timeout: a worker is "
            "delivering it, or another transaction is changing it. Roll back, and call again in a new transaction"
        )


class CannotBeListed(DuetimeError):
    """Raised by a design's ``pending`` if its store cannot say which notifications it has, with the reason."""


class SchedulerProcessFailed(DuetimeError):
    """The process of a library in another language gave no answer, or an error. The outcome is unknown."""

    def __init__(self, command: Sequence[str], what: str) -> None:
        super().__init__(
            f"{' '.join(command)} {what}. Its standard error says more. Whether the call took effect is unknown: "
            "call again with the same key and revision"
        )


class RefusedAfterCommit(DuetimeError):
    """A library refuses a notification whose transaction is committed. Not a ``ScheduleRejected``: do not roll back."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"refused after the commit, so the transaction stands and nothing is scheduled: {reason}")


class UnknownName(BadUsage):
    """No design, scenario or fault has this name."""

    def __init__(self, what: str, name: str, known: Collection[str]) -> None:
        close = get_close_matches(name, known, n=1)
        suggestion = f" Did you mean {close[0]!r}?" if close else ""
        super().__init__(f"no {what} named {name!r}; known: {', '.join(sorted(known)) or 'none'}.{suggestion}")


class DesignNotLoadable(BadUsage):
    """The named object cannot be imported, or is not a ``Design``."""


class ServiceUnavailable(BadUsage):
    """A database server or broker that the run needs does not answer, or must not be used."""


class NotARun(BadUsage):
    """The directory holds no complete run."""


class HarnessError(DuetimeError):
    """The harness failed to do its own part of a run; this is no verdict about the design. Exit status 3."""


class Interrupted(DuetimeError):
    """The user stopped the run."""
