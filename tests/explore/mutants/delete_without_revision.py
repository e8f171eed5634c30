"""Mutant: no lock is held during the delivery, and the row is deleted by its key, whatever revision it has by then."""

# It changes the inside of another module.
# mypy: ignore-errors

from dataclasses import replace

from sqlalchemy import text

from duetime.interface import Notification
from push_readmodel.design import design as correct

CLAIM = text("""
    UPDATE pending_notifications SET attempt_at = 'infinity', attempts = attempts + 1 WHERE key = (
        SELECT key FROM pending_notifications WHERE attempt_at <= now() LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING key, revision, kind, recipient, due_at, payload
""")
DELETE = text("DELETE FROM pending_notifications WHERE key = :key")

design = replace(correct, name="delete_without_revision")


def drain_once(engine, gateway, _effects):
    while True:
        with engine.begin() as connection:
            row = connection.execute(CLAIM).one_or_none()
        if row is None:
            return
        gateway.deliver(Notification.from_store(*row))
        with engine.begin() as connection:
            connection.execute(DELETE, {"key": row.key})
