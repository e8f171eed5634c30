"""The reminder of a participant before an event."""

from __future__ import annotations

from datetime import timedelta

from duetime.app.tables import Event, Participation
from duetime.clock import utc
from duetime.interface import Notification


def reminder_key(event_id: int, user_id: int) -> str:
    return f"event-reminder:{event_id}:{user_id}"


def event_and_user(key: str) -> tuple[int, int]:
    """Return the event id and the user id of a reminder's key."""
    _, event_id, user_id = key.split(":")
    return int(event_id), int(user_id)


def reminder(participation: Participation, *, lead: timedelta) -> Notification:
    """Return the reminder for the current state of `participation`: `lead` before the event, to the current address."""
    return reminder_to(
        participation.user_id,
        participation.user.address,
        event=participation.event,
        revision=participation.reminder_revision,
        lead=lead,
    )


def reminder_to(user_id: int, address: str, *, event: Event, revision: int, lead: timedelta) -> Notification:
    """Return the same reminder without loading the participation."""
    starts_at = utc(event.starts_at)
    return Notification(
        key=reminder_key(event.id, user_id),
        revision=revision,
        kind="event-reminder",
        recipient=address,
        due_at=starts_at - lead,
        payload={"event": event.id, "title": event.title, "starts_at": starts_at.isoformat()},
    )
