"""Every error that duetime raises on purpose: what happened, with the values, then what to do."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from difflib import get_close_matches


class DuetimeError(Exception):
    """The root: the command line prints one of these as a sentence, never as a traceback."""


class BadUsage(DuetimeError):
    """The request cannot be understood or served as it stands; exit status 2."""


class ScheduleRejected(DuetimeError):
    """The notification was not stored, and never will be."""


class NaiveDueTime(ScheduleRejected, ValueError):
    """A due time without a UTC offset names no instant."""

    def __init__(self, key: str, due_at: datetime) -> None:
        super().__init__(
            f"due_at of {key!r} is {due_at.isoformat()} without a time zone; write an aware datetime, "
            "for instance datetime(2030, 1, 1, 9, 0, tzinfo=UTC)"
        )


class BadNotification(ScheduleRejected, ValueError):
    """A field is outside what every design can carry."""


class UnknownName(BadUsage):
    """Nothing is known under this name."""

    def __init__(self, what: str, name: str, known: Collection[str]) -> None:
        close = get_close_matches(name, known, n=1)
        guess = f" Did you mean {close[0]!r}?" if close else ""
        super().__init__(f"no {what} named {name!r}; there are: {', '.join(sorted(known)) or 'none'}.{guess}")


class DesignNotLoadable(BadUsage):
    """A design was named, but what stands under that name is not one."""


class ServiceUnavailable(BadUsage):
    """A server that the run needs does not answer, or may not be used."""


class NotARun(BadUsage):
    """The directory holds no run that could be judged."""


class HarnessError(DuetimeError):
    """The harness could not carry out its own part of a run; nothing is said about the design."""


class Interrupted(DuetimeError):
    """The user asked the run to stop."""
