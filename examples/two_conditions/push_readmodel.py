"""A rule with two conditions: reimburse once the supervisor has accepted, and no sooner than 3 days after the purchase.

The read model gathers what it needs from other modules' domain events, which arrive in any order and more than once. So
each fact is kept with the number of the event that it came from, and the newest wins: whatever the order, the end is
the same.
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

from duetime.interface import Notification, Scheduler

metadata = MetaData()
NO_SOONER = timedelta(days=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """Somebody handed in version 1 of an invoice, or amended it: version 2, 3 …"""

    invoice: int
    version: int
    payee: str
    purchased_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """The supervisor's decision about one version; they may change their mind, and count their decisions."""

    invoice: int
    version: int
    decision: int
    accepted: bool
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Reimbursed:
    """The money has gone out: whatever is heard from now on, it does not go out again."""

    invoice: int


reimbursements = Table(
    "reimbursements",
    metadata,
    Column("invoice", BigInteger, primary_key=True),
    Column("revision", Integer, nullable=False, server_default="0"),
    # Of the newest version that was heard of.
    Column("version", Integer, nullable=False, server_default="0"),
    Column("payee", Text),
    Column("purchased_at", DateTime(timezone=True)),
    # Of the newest decision about the newest version that has one.
    Column("decided_version", Integer, nullable=False, server_default="0"),
    Column("decision", Integer, nullable=False, server_default="0"),
    Column("accepted_at", DateTime(timezone=True)),
    Column("reimbursed", Boolean, nullable=False, server_default="false"),
    # What the notification that is scheduled says; none is, if this is null.
    Column("due_at", DateTime(timezone=True)),
    Column("due_to", Text),
)


def heard(event: Claimed | Decided | Reimbursed, *, notifications: Scheduler, session: Session) -> None:
    """Take one domain event in, and schedule, move or cancel the reimbursement accordingly, in `session`."""
    session.execute(insert(reimbursements).values(invoice=event.invoice).on_conflict_do_nothing())
    mine = reimbursements.c.invoice == event.invoice
    session.execute(select(reimbursements.c.invoice).where(mine).with_for_update())
    session.execute(_newer(event).where(mine))
    row = session.execute(select(reimbursements).where(mine)).one()
    if (due := due_of(row)) != (row.due_at, row.due_to):
        changed = update(reimbursements).where(mine).values(revision=row.revision + 1, due_at=due[0], due_to=due[1])
        session.execute(changed)
        _tell(notifications, row.invoice, row.revision + 1, due, session)


def due_of(row: Row[Any]) -> tuple[datetime, str] | tuple[None, None]:
    """The rule: the newest version, accepted as it stands, and not reimbursed yet."""
    if row.reimbursed or row.version == 0 or row.decided_version != row.version or row.accepted_at is None:
        return None, None
    return max(row.accepted_at, row.purchased_at + NO_SOONER), row.payee


def _newer(event: Claimed | Decided | Reimbursed) -> Any:  # an UPDATE, which changes nothing if as new is known
    known = reimbursements.c
    if isinstance(event, Reimbursed):
        return update(reimbursements).values(reimbursed=True)
    if isinstance(event, Claimed):
        fact = {"version": event.version, "payee": event.payee, "purchased_at": event.purchased_at}
        return update(reimbursements).where(known.version < event.version).values(fact)
    fact = {
        "decided_version": event.version,
        "decision": event.decision,
        "accepted_at": event.at if event.accepted else None,
    }
    of_the_same = and_(known.decided_version == event.version, known.decision < event.decision)
    return update(reimbursements).where(or_(known.decided_version < event.version, of_the_same)).values(fact)


def _tell(
    notifications: Scheduler,
    invoice: int,
    revision: int,
    due: tuple[datetime, str] | tuple[None, None],
    session: Session,
) -> None:
    due_at, payee = due
    if due_at is None or payee is None:
        notifications.cancel(f"reimburse:{invoice}", revision=revision, session=session)
        return
    notification = Notification(
        key=f"reimburse:{invoice}", revision=revision, kind="reimburse", recipient=payee, due_at=due_at
    )
    notifications.schedule(notification, session=session)
