"""The same rule for a poller: a join over the tables of other modules, whose owners may not change them any more.

It needs no events and can be wrong about nothing: whatever those tables say now is what it does. The price is that the
rule stands in a query over two modules, that each poll asks it about every invoice, and that no index serves the
later of two times in two tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import func, literal, select
from sqlalchemy.orm import Session, aliased

from duetime.app.tables import Decision, Invoice

NO_SOONER = timedelta(days=3)


def to_reimburse(session: Session, *, now: datetime) -> Sequence[Invoice]:
    """Invoices accepted as they stand now, three days after the purchase or later, and not reimbursed; locked."""
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
        .where(func.greatest(Decision.decided_at, Invoice.purchased_at + literal(NO_SOONER)) <= now)
        .order_by(Invoice.id)
        .with_for_update(of=Invoice, skip_locked=True)
    )
    return session.scalars(accepted).all()
