"""What the application does when something falls due, where that happens inside its own database.

A design that executes the statement in the transaction in which it forgets the notification does it exactly once.
"""

from __future__ import annotations

from duetime.app.follow_ups import FOLLOW_UPS, PAY_ERRAND, FollowUp

WAGE_CENTS = 500

CREDIT = f"""
    WITH settled AS (UPDATE errands SET status = 'paid' WHERE id = %(id)s),
    changed AS (
        UPDATE users SET balance_cents = balance_cents + {WAGE_CENTS}
        FROM errands WHERE errands.id = %(id)s AND users.id = errands.user_id
        RETURNING users.id
    )
    INSERT INTO effects (op, worker) SELECT %(op)s::text, %(worker)s::text FROM changed
"""  # noqa: S608 - the wage is ours
"""Done twice it is paid twice: no condition protects it but the transaction that it is part of."""


def changes_status(what: FollowUp) -> str:
    """Done twice it is done once: the second time the row is no longer open."""
    return f"""
        WITH changed AS (
            UPDATE {what.table.__tablename__} SET status = '{what.sets_status}'
            WHERE id = %(id)s AND status = 'open' RETURNING id
        )
        INSERT INTO effects (op, worker) SELECT %(op)s::text, %(worker)s::text FROM changed
    """  # noqa: S608 - names of ours


STATEMENTS = {
    **{what.kind: changes_status(what) for what in FOLLOW_UPS.values() if what.sets_status},
    PAY_ERRAND.kind: CREDIT,
}
"""For each kind of notification that is an effect inside the database, the statement that brings it about."""
