"""schedule() and cancel() as a queue offers them: publish with an ETA, revoke; both after the caller's commit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import Task
from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction

from duetime.interface import Notification, Scheduler

OUTBOX = "oban_style_queue.after_commit"


class CeleryQueue(Scheduler):
    """Publishes one task a notification.

    A broker cannot take part in the caller's transaction. Publishing after the commit means that nothing is sent for
    a business change that was rolled back, and that a crash in between sends nothing for one that was not.
    """

    def __init__(self, task: Task[..., Any]) -> None:
        self._task = task

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """After the commit: revoke the older revisions, then publish this one."""
        self._revoke_after_commit(session, notification.key, notification.revision)
        after_commit(
            session,
            lambda: self._task.apply_async(
                args=(notification.to_json(),), task_id=notification.op, eta=notification.due_at
            ),
        )

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """After the commit: ask the workers that are up to remember that the older revisions are revoked."""
        self._revoke_after_commit(session, key, revision)

    def _revoke_after_commit(self, session: Session, key: str, revision: int) -> None:
        # The task id is the revision, so nobody has to store ids. All older ones: an earlier revoke may have failed.
        older = [f"{key}/{number}" for number in range(1, revision)]
        if older:
            after_commit(session, lambda: self._task.app.control.revoke(older))


def after_commit(session: Session, action: Callable[[], Any]) -> None:
    """Run `action` once `session` has committed, in the order of these calls; forget it after a rollback.

    Knows nothing of savepoints: what was scheduled inside one that is rolled back is still published.
    """
    # Begins the transaction if nothing has yet: SQLAlchemy reports no end of one that never began.
    session.connection()
    if OUTBOX not in session.info:
        session.info[OUTBOX] = []
        event.listen(session, "after_commit", _run_outbox)
        event.listen(session, "after_transaction_end", _forget_outbox)
    session.info[OUTBOX].append(action)


def _run_outbox(session: Session) -> None:
    actions, session.info[OUTBOX] = session.info[OUTBOX], []
    for action in actions:
        action()


def _forget_outbox(session: Session, ended: SessionTransaction) -> None:
    """After a commit nothing is left here; after a rollback, or a close without either, it must not be published."""
    if ended.parent is None:
        session.info[OUTBOX] = []
