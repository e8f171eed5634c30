"""What a reminder for an event says, to whom, and when."""

from __future__ import annotations

from datetime import timedelta

from duetime.app.tables import Participation
from duetime.interface import Notification


def reminder_key(participation: Participation) -> str:
    """The idempotency key of one participant's reminder for one event."""
    return f"event-reminder:{participation.event_id}:{participation.user_id}"


def event_and_user(key: str) -> tuple[int, int]:
    """The participation that a reminder's key stands for."""
    _, event_id, user_id = key.split(":")
    return int(event_id), int(user_id)


def reminder(participation: Participation, *, lead: timedelta) -> Notification:
    """The reminder as it stands now: `lead` before the start, to the participant's present address."""
    event = participation.event
    return Notification(
        key=reminder_key(participation),
        revision=participation.reminder_revision,
        kind="event-reminder",
        recipient=participation.user.address,
        due_at=event.starts_at - lead,
        payload={"event": event.id, "title": event.title, "starts_at": event.starts_at.isoformat()},
    )
