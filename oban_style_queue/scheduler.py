"""schedule() publishes a task with an ETA, cancel() revokes it; both after the caller's commit."""

from __future__ import annotations

from typing import Any

from celery import Task
from sqlalchemy.orm import Session

from duetime.after_commit import after_commit
from duetime.errors import BadNotification
from duetime.interface import Notification, Scheduler
from duetime.runtime.calls import check_cancel, usable_session

MAX_REVISION = 10_000
"""A revoke of so many ids is a message of 300 kB to each worker."""


class CeleryQueue(Scheduler):
    """Publishes one task for each notification.

    The broker cannot take part in the caller's transaction. After a rollback nothing is published; after a crash
    between commit and publish nothing is published either, and the notification is lost.
    """

    def __init__(self, task: Task[..., Any]) -> None:
        self._task = task

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """After the commit, revoke the older revisions and publish this one."""
        session = usable_session(session)
        check_counted(notification.key, notification.revision)
        self._revoke_after_commit(session, notification.key, notification.revision)
        publish_after_commit(session, self._task, notification)

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """After the commit, ask the running workers to remember the older revisions as revoked."""
        session = usable_session(session)
        check_cancel(key, revision)
        check_counted(key, revision)
        self._revoke_after_commit(session, key, revision)

    def _revoke_after_commit(self, session: Session, key: str, revision: int) -> None:
        # All older revisions, because an earlier revoke may have failed. The task id is the revision, so no id is kept.
        older = [f"{key}/{number}" for number in range(1, revision)]
        if older:
            after_commit(session, lambda: self._task.app.control.revoke(older))


def check_counted(key: str, revision: int) -> None:
    """Check that `revision` counts changes: a clock's reading would be a list of a billion ids to revoke.

    Raises:
        BadNotification: it is above `MAX_REVISION`.
    """
    if revision > MAX_REVISION:
        raise BadNotification(
            f"the revision of {key!r} is {revision}, and this design revokes each older revision by its id, at most "
            f"{MAX_REVISION}; count the changes of the key from 1"
        )


def publish_after_commit(session: Session, task: Task[..., Any], notification: Notification) -> None:
    """Publish `notification` for its due time once `session` has committed, once in this transaction.

    Celery accepts the same task id again: a call repeated in a later transaction is a second message.
    """
    body = notification.to_json()  # now, so that a later change of its payload changes nothing

    def publish() -> object:
        return task.apply_async(args=(body,), task_id=notification.op, eta=notification.due_at)

    after_commit(session, publish, once=notification.op)
