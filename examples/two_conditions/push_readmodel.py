"""The rule for the read model: it keeps the facts from other modules' domain events, and schedules when both hold.

The events arrive in any order and more than once. Each fact is stored with the number of its event, and the newest
fact wins, so the result does not depend on the order.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Integer,
    MetaData,
    Row,
    Table,
    Text,
    and_,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from duetime.clock import utc
from duetime.interface import Notification, Scheduler

metadata = MetaData()
EARLIEST_AFTER_PURCHASE = timedelta(days=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """An invoice was submitted (version 1) or amended (version 2, 3 …)."""

    invoice: int
    version: int
    payee: str
    purchased_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """The supervisor decided about one version. A later decision, with a higher number, replaces an earlier one."""

    invoice: int
    version: int
    decision: int
    accepted: bool
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Reimbursed:
    """The invoice was reimbursed; later events do not reimburse it again."""

    invoice: int


DomainEvent = Claimed | Decided | Reimbursed

reimbursements = Table(
    "reimbursements",
    metadata,
    Column("invoice", BigInteger, primary_key=True),
    Column("revision", Integer, nullable=False, server_default="0"),
    # Of the newest version received.
    Column("version", Integer, nullable=False, server_default="0"),
    Column("payee", Text),
    Column("purchased_at", DateTime(timezone=True)),
    # Of the newest decision about the newest version that has one.
    Column("decided_version", Integer, nullable=False, server_default="0"),
    Column("decision", Integer, nullable=False, server_default="0"),
    Column("accepted_at", DateTime(timezone=True)),
    Column("reimbursed", Boolean, nullable=False, server_default="false"),
    # The due time and the payee of the scheduled notification; null if none is scheduled.
    Column("due_at", DateTime(timezone=True)),
    Column("due_to", Text),
)


def handle(event: DomainEvent, *, notifications: Scheduler, session: Session) -> None:
    """Store the facts of one domain event, and schedule, change or cancel the reimbursement in `session`."""
    session.execute(insert(reimbursements).values(invoice=event.invoice).on_conflict_do_nothing())
    this_invoice = reimbursements.c.invoice == event.invoice
    session.execute(select(reimbursements.c.invoice).where(this_invoice).with_for_update())
    session.execute(_store_if_newer(event).where(this_invoice))
    row = session.execute(select(reimbursements).where(this_invoice)).one()
    due_at, due_to = due(row)
    # In UTC: Python calls a time in the hour that comes twice unequal to every time in another zone.
    scheduled_at = utc(row.due_at) if row.due_at else None
    if (due_at, due_to) != (scheduled_at, row.due_to):
        revision = row.revision + 1
        session.execute(
            update(reimbursements).where(this_invoice).values(revision=revision, due_at=due_at, due_to=due_to)
        )
        _reschedule(notifications, row.invoice, revision, due_at, due_to, session)


def due(row: Row[Any]) -> tuple[datetime, str] | tuple[None, None]:
    """Apply the rule: the newest version is accepted and not reimbursed. Returns the due time and the payee."""
    if row.reimbursed or row.version == 0 or row.decided_version != row.version or row.accepted_at is None:
        return None, None
    return max(utc(row.accepted_at), utc(row.purchased_at) + EARLIEST_AFTER_PURCHASE), row.payee


def _store_if_newer(event: DomainEvent) -> Any:  # an UPDATE, which changes nothing if a newer fact is stored
    stored = reimbursements.c
    if isinstance(event, Reimbursed):
        return update(reimbursements).values(reimbursed=True)
    if isinstance(event, Claimed):
        fact = {"version": event.version, "payee": event.payee, "purchased_at": event.purchased_at}
        return update(reimbursements).where(stored.version < event.version).values(fact)
    fact = {
        "decided_version": event.version,
        "decision": event.decision,
        "accepted_at": event.at if event.accepted else None,
    }
    same_version = and_(stored.decided_version == event.version, stored.decision < event.decision)
    return update(reimbursements).where(or_(stored.decided_version < event.version, same_version)).values(fact)


def _reschedule(
    notifications: Scheduler, invoice: int, revision: int, due_at: datetime | None, payee: str | None, session: Session
) -> None:
    key = f"reimburse:{invoice}"
    if due_at is None or payee is None:
        notifications.cancel(key, revision=revision, session=session)
        return
    notification = Notification(key=key, revision=revision, kind="reimburse", recipient=payee, due_at=due_at)
    notifications.schedule(notification, session=session)
