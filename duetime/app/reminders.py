"""What a reminder for an event says, to whom, and when."""

from __future__ import annotations

from datetime import timedelta

from duetime.app.tables import Event, Participation
from duetime.interface import Notification


def reminder_key(event_id: int, user_id: int) -> str:
    """The idempotency key of one participant's reminder for one event."""
    return f"event-reminder:{event_id}:{user_id}"


def event_and_user(key: str) -> tuple[int, int]:
    """The participation that a reminder's key stands for."""
    _, event_id, user_id = key.split(":")
    return int(event_id), int(user_id)


def reminder(participation: Participation, *, lead: timedelta) -> Notification:
    """The reminder as it stands now: `lead` before the start, to the participant's present address."""
    return reminder_to(
        participation.user_id,
        participation.user.address,
        event=participation.event,
        revision=participation.reminder_revision,
        lead=lead,
    )


def reminder_to(user_id: int, address: str, *, event: Event, revision: int, lead: timedelta) -> Notification:
    """The same, where the participation itself has not been loaded."""
    return Notification(
        key=reminder_key(event.id, user_id),
        revision=revision,
        kind="event-reminder",
        recipient=address,
        due_at=event.starts_at - lead,
        payload={"event": event.id, "title": event.title, "starts_at": event.starts_at.isoformat()},
    )
