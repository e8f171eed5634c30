"""schedule() and cancel() of a design that reads the application's tables."""

from __future__ import annotations

from sqlalchemy.orm import Session

from duetime.interface import Notification, Scheduler
from duetime.runtime.calls import check_cancel, usable_session


class NothingToSchedule(Scheduler):
    """Does nothing: the application has just written the event, and the poll reads it there.

    For this the design must know the application's tables, and the application cannot change them without it.
    """

    def schedule(self, notification: Notification, *, session: Session) -> None:  # noqa: ARG002 - see the class
        """Do nothing: the event row is the schedule."""
        usable_session(session)

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """Do nothing: the poll reads that the event was cancelled, or that the participant left."""
        usable_session(session)
        check_cancel(key, revision)
