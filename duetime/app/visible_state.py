"""The state that a user sees after reloading the page, read from the application's main tables."""

from __future__ import annotations

from sqlalchemy.orm import Session

from duetime.app.follow_ups import FOLLOW_UPS
from duetime.app.reminders import event_and_user
from duetime.app.tables import Participation


def revision_shown(session: Session, key: str) -> int:
    """Return the latest revision of `key` that was committed; 0 if none was."""
    kind, _, number = key.partition(":")
    if kind in FOLLOW_UPS:
        row = session.get(FOLLOW_UPS[kind].table, int(number))
        return row.revision if row else 0
    participation = session.get(Participation, event_and_user(key))
    return participation.reminder_revision if participation else 0
