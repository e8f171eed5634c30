"""What a user sees who reloads the page: which change of a notification's subject the application's tables show."""

from __future__ import annotations

from sqlalchemy.orm import Session

from duetime.app.follow_ups import FOLLOW_UPS
from duetime.app.reminders import event_and_user
from duetime.app.tables import Participation


def revision_shown(session: Session, key: str) -> int:
    """The latest revision of `key` that took effect; 0 if none did."""
    kind, _, number = key.partition(":")
    if kind in FOLLOW_UPS:
        row = session.get(FOLLOW_UPS[kind].table, int(number))
        return row.revision if row else 0
    participation = session.get(Participation, event_and_user(key))
    return participation.reminder_revision if participation else 0
