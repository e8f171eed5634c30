"""The effects of the application inside its own database, one SQL statement for each kind of notification.

A design that executes the statement in the transaction that deletes the notification has the effect exactly once.
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
"""  # noqa: S608 - the wage is a constant
"""Not idempotent on purpose: executed twice, it pays twice."""


def change_status(follow_up: FollowUp) -> str:
    """Return an idempotent statement: executed again, it finds the row no longer open."""
    return f"""
        WITH changed AS (
            UPDATE {follow_up.table.__tablename__} SET status = '{follow_up.sets_status}'
            WHERE id = %(id)s AND status = 'open' RETURNING id
        )
        INSERT INTO effects (op, worker) SELECT %(op)s::text, %(worker)s::text FROM changed
    """  # noqa: S608 - table and status are constants


STATEMENTS = {
    **{follow_up.kind: change_status(follow_up) for follow_up in FOLLOW_UPS.values() if follow_up.sets_status},
    PAY_ERRAND.kind: CREDIT,
}
"""The statement of each kind of notification that has its effect inside the database."""
