"""DBOS for Python behind ``schedule()``: a delayed workflow, enqueued in the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from duetime.after_commit import after_commit
from duetime.clock import system_clock
from duetime.contenders import contender, plain_url
from duetime.interface import Design, Guarantees, Notification, Pending, Role, Scheduler
from duetime.settings import Settings

# attributes @> uses DBOS's index on them.
UNFINISHED = text(
    "SELECT workflow_uuid AS id, CAST(attributes->>'revision' AS integer) AS revision FROM dbos.workflow_status "
    "WHERE attributes @> CAST(:key AS jsonb) AND status IN ('DELAYED', 'ENQUEUED', 'PENDING')"
)
PENDING = text(
    "SELECT workflow_uuid AS op, status, executor_id FROM dbos.workflow_status "
    "WHERE status NOT IN ('SUCCESS', 'CANCELLED')"
)
STATES = {"DELAYED": "waiting", "ENQUEUED": "waiting", "PENDING": "held"}
# A delay is cut to whole milliseconds, which would be early by up to one.
MILLISECOND = timedelta(milliseconds=1)
HERE = contender(__file__)


class Dbos(Scheduler):
    """Enqueues with ``delay_seconds`` in the caller's transaction, and cancels after its commit."""

    def __init__(self, settings: Settings) -> None:
        from dbos import DBOSClient

        self._client: Any = DBOSClient(
            system_database_url=plain_url(settings.database_url), application_name="notifications"
        )

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """Enqueue a workflow whose id is key and revision, and cancel the older ones of the key."""
        if self._cancel(session, notification.key, notification.revision):
            return
        options: dict[str, Any] = {
            "workflow_name": "deliver",
            "queue_name": "notifications",
            "workflow_id": notification.op,
            "attributes": {"key": notification.key, "revision": notification.revision},
        }
        # DBOS adds the delay to the same clock, so an error of this clock cancels out.
        delay = notification.due_at - system_clock()
        if delay > timedelta():
            options["delay_seconds"] = (delay + MILLISECOND).total_seconds()
        body = {"key": notification.key, "revision": notification.revision}
        self._client.enqueue_in_transaction(session, options, body)

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """Cancel the older workflows of the key; a step that has begun runs to its end."""
        self._cancel(session, key, revision)

    def _cancel(self, session: Session, key: str, revision: int) -> bool:
        """Cancel older workflows. Returns True if one of this revision or a newer one is not finished."""
        workflows = session.execute(UNFINISHED, {"key": json.dumps({"key": key})}).all()
        if older := [workflow.id for workflow in workflows if workflow.revision < revision]:
            # It has a transaction of its own.
            after_commit(session, lambda: self._client.cancel_workflows(older))
        return len(older) < len(workflows)


def pending(_settings: Settings, engine: Engine) -> Sequence[Pending]:
    """Return the workflows that have neither succeeded nor been cancelled."""
    with engine.connect() as connection:
        return [
            Pending(
                workflow.op,
                f"dbos.workflow_status, {workflow.status}, executor {workflow.executor_id}",
                STATES.get(workflow.status, "failed"),  # type: ignore[arg-type]
                # A held one comes back when an executor with that id starts.
            )
            for workflow in connection.execute(PENDING)
        ]


design = Design(
    name="contender:dbos",
    summary="DBOS for Python 3.4 with its defaults: a delayed workflow in PostgreSQL, in the caller's transaction",
    weakness="the workflows of a dead worker wait until one with its name starts; a step that raises an error is not "
    "retried; a cancel has a transaction of its own",
    # "At least once", and an error ends the workflow.
    guarantees=Guarantees(
        delivery="once_without_faults",
        transactional=True,
        transactional_cancel=False,
        cancels=True,
        due_by="workers",
        # Delayed workflows are enqueued each second, and each worker polls the queue every second.
        punctual_to_s=2.5,
    ),
    roles=[
        Role(
            name="worker",
            argv=("{python}", "{here}/worker.py"),
            ready="worker ready",
            # The example's worker has no handler for signals.
            orderly_exits=(0, -15),
        )
    ],
    install=lambda engine: HERE.run("install.py", engine),
    scheduler=Dbos,
    pending=pending,
    uses_broker=False,
    contender=HERE,
)
tuned = replace(
    design,
    name="contender:dbos:tuned",
    summary="DBOS for Python 3.4 with retries, a faster poll of the queue, and workers that end in an orderly way",
    weakness="the workflows of a dead worker wait until one with its name starts, and are delivered again if they had "
    "been; a cancel has a transaction of its own",
    guarantees=replace(design.guarantees, delivery="at_least_once", punctual_to_s=0.0),
    roles=[replace(design.roles[0], argv=("{python}", "{here}/tuned_worker.py"), orderly_exits=(0,))],
)
