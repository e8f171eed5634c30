"""schedule() and cancel(): one statement each, inside the caller's transaction."""

from __future__ import annotations

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from duetime.interface import Notification
from push_readmodel.schema import pending

CHANNEL = "pending_notifications"


class ReadModel:
    """Keeps what is to be delivered in a table of its own, in the application's database."""

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """Write the row that a drain will find. It exists exactly if the caller commits.

        A drain that holds this key's older revision at this moment finishes first: then both are delivered.
        """
        row = {
            "key": notification.key,
            "revision": notification.revision,
            "kind": notification.kind,
            "recipient": notification.recipient,
            "payload": dict(notification.payload),
            "due_at": notification.due_at,
            "attempt_at": notification.due_at,
        }
        upsert = insert(pending).values(row)
        newer = upsert.excluded.revision > pending.c.revision
        anew = {**row, "attempts": 0, "last_error": None}
        session.execute(upsert.on_conflict_do_update(index_elements=["key"], set_=anew, where=newer))
        # Arrives with the commit, never before the row: a sleeping drain learns that its next row may come earlier.
        session.execute(select(func.pg_notify(CHANNEL, "")))

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """Delete the row. If a drain holds it, wait for that delivery to end; it cannot be called back."""
        session.execute(delete(pending).where(pending.c.key == key, pending.c.revision < revision))
