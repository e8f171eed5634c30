"""What a user sees who reloads the page: which change of a notification's subject the application's tables show."""

from __future__ import annotations

from sqlalchemy.orm import Session

from duetime.app.follow_ups import FOLLOW_UPS, revision_of
from duetime.app.reminders import event_and_user
from duetime.app.tables import Participation


def revision_shown(session: Session, key: str) -> int:
    """The latest revision of `key` that took effect; 0 if none did."""
    if key.partition(":")[0] in FOLLOW_UPS:
        return revision_of(session, key) or 0
    participation = session.get(Participation, event_and_user(key))
    return participation.reminder_revision if participation else 0
