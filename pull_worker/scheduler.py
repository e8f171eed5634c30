"""schedule() of a design in which the event row is the schedule."""

from __future__ import annotations

from sqlalchemy.orm import Session

from duetime.interface import Notification, Scheduler


class NothingToSchedule(Scheduler):
    """Does nothing: the application has just written the event, and the poll will read it there.

    So this module must know the application's tables, and the application cannot change them without it.
    """

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """Do nothing: the event row is the schedule."""

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """Do nothing: the poll will see that the event was called off, or that the participant left."""
