"""The rule for a poller: a join over the tables of two other modules, which those modules can then no longer change.

It needs no events and is always up to date with the tables. In return the rule is spread over a query, each poll
evaluates it for every invoice, and no index serves the later of two times in two tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from duetime.app.tables import Decision, Invoice
from duetime.clock import utc

EARLIEST_AFTER_PURCHASE = timedelta(days=3)


def to_reimburse(session: Session, *, now: datetime) -> Sequence[Invoice]:
    """Return and lock the invoices to reimburse now: newest version accepted, purchase at least 3 days ago."""
    later = aliased(Decision)
    accepted = (
        select(Invoice)
        .join(Decision, (Decision.invoice_id == Invoice.id) & (Decision.version == Invoice.version))
        .where(Invoice.reimbursed_at.is_(None), Decision.accepted)
        .where(
            ~select(later)
            .where(later.invoice_id == Invoice.id, later.version == Invoice.version)
            .where(later.number > Decision.number)
            .exists()
        )
        # Not in SQL, where three days are counted in the time zone of the session.
        .where(Decision.decided_at <= now, Invoice.purchased_at <= utc(now) - EARLIEST_AFTER_PURCHASE)
        .order_by(Invoice.id)
        .with_for_update(of=Invoice, skip_locked=True)
    )
    return session.scalars(accepted).all()
