"""Refuse to drain a table whose rows the drain cannot see or cannot delete: it would stall or repeat in silence."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from duetime.errors import DuetimeError
from duetime.shell_command import shell_command

log = logging.getLogger(__name__)

TABLE = "pending_notifications"

# A column privilege is enough for SELECT … FOR UPDATE. In ev_type, 2 is UPDATE and 4 DELETE; in tgtype, 16 and 8.
INSPECT = f"""
    SELECT c.relkind::text, current_user::text,
           ARRAY(SELECT p FROM unnest(ARRAY['SELECT', 'UPDATE']) AS p WHERE NOT has_any_column_privilege(c.oid, p))
               || CASE WHEN has_table_privilege(c.oid, 'DELETE') THEN '{{}}' ELSE '{{DELETE}}'::text[] END,
           row_security_active(c.oid),
           ARRAY(SELECT DISTINCT rulename::text FROM pg_rewrite
                 WHERE ev_class = ANY(parts.oids) AND ev_type IN ('2', '4') AND ev_enabled <> 'D'),
           c.relkind = 'r' AND c.relhassubclass
               OR EXISTS (SELECT FROM pg_class WHERE oid = ANY(parts.oids) AND relkind = 'f'),
           EXISTS (SELECT FROM pg_index AS i
                   WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
                     AND i.indnkeyatts = 1
                     AND i.indkey[0] = (SELECT attnum FROM pg_attribute WHERE attrelid = c.oid AND attname = 'key')),
           ARRAY(SELECT DISTINCT tgname::text FROM pg_trigger
                 WHERE tgrelid = ANY(parts.oids) AND NOT tgisinternal AND tgenabled <> 'D'
                   AND tgtype & (8 | 16) <> 0)
    FROM pg_class AS c,
         LATERAL (SELECT c.oid || ARRAY(SELECT relid::oid FROM pg_partition_tree(c.oid)) AS oids) AS parts
    WHERE c.oid = to_regclass('{TABLE}')
"""  # noqa: S608 - the table is a constant
TRY_CLAIM = f"SELECT key FROM {TABLE} ORDER BY attempt_at LIMIT 1 FOR UPDATE SKIP LOCKED"  # noqa: S608 - the table is a constant
TRY_UPDATE = f"UPDATE {TABLE} SET attempt_at = clock_timestamp() + interval '1 hour' WHERE key = %s"  # noqa: S608
TRY_DELETE = f"DELETE FROM {TABLE} WHERE key = %s"  # noqa: S608 - the same
UPDATED = f"SELECT FROM {TABLE} WHERE key = %s AND attempt_at > clock_timestamp()"
DELETED = f"SELECT WHERE NOT EXISTS (SELECT FROM {TABLE} WHERE key = %s)"  # noqa: S608 - the same
STILL_STORED = f"SELECT key FROM {TABLE} WHERE key = ANY(%s) ORDER BY key LIMIT 3"  # noqa: S608 - the same
CAME_BACK = f"""
    SELECT key FROM {TABLE} JOIN unnest(%s::text[], %s::int[]) AS delivered (key, revision) USING (key, revision)
    ORDER BY key LIMIT 3
"""  # noqa: S608 - the same
LIKELY_REASONS = (
    "Likely reasons: a trigger that keeps the row, changes it or inserts it again, a rule, a row level security "
    "policy. Remove it, and start the worker again"
)


class TableRefused(DuetimeError):
    """The drain cannot use the table without losing or repeating notifications."""


@dataclass(frozen=True, slots=True)
class _Inspected:
    kind: str
    role: str
    missing: Collection[str]
    row_security: bool
    rules: Collection[str]
    foreign_or_inherited: bool
    unique_key: bool
    triggers: Collection[str]


def check_table(connection: psycopg.Connection[Any]) -> bool:
    """Check the kind, privileges, policies and rules of the table before the first delivery over `connection`.

    Returns True if triggers exist: then `check_gone` has to follow each commit, because no count shows what they did.

    Raises:
        TableRefused: with what to change.
    """
    row = connection.execute(INSPECT).fetchone()
    if row is None:
        raise TableRefused(
            f"no table {TABLE} in the search path of this connection; create it with "
            f"`{shell_command('install', 'push_readmodel')}`"
        )
    table = _Inspected(*row)
    if table.kind not in ("r", "p") or table.foreign_or_inherited:
        raise TableRefused(
            f"{TABLE} is a view, a foreign table, has foreign partitions, or others inherit from it; the drain needs "
            "an ordinary table, or one with hash partitions "
            f"(`{shell_command('install', 'push_readmodel', '--partitions', '8')}`)"
        )
    if not table.unique_key:
        raise TableRefused(
            f"{TABLE} has no unique index on key alone, so two rows may have one key; add a primary key on key. A "
            "partitioned table has one only if it is partitioned by key"
        )
    if table.missing:
        privileges = ", ".join(table.missing)
        raise TableRefused(
            f"the role {table.role} may not {privileges} on {TABLE}; GRANT SELECT, UPDATE, DELETE ON {TABLE} TO "
            f"{table.role}"
        )
    if table.row_security:
        raise TableRefused(
            f"row level security hides rows of {TABLE} from the role {table.role}, and they would never be delivered; "
            f"ALTER ROLE {table.role} BYPASSRLS, or drain as the table's owner"
        )
    if table.rules:
        raise TableRefused(
            f"the rules {', '.join(table.rules)} rewrite UPDATE or DELETE on {TABLE}, so delivered rows could stay and "
            "be delivered again; drop them"
        )
    if table.triggers:
        log.warning(
            "%s has the trigger %s on UPDATE or DELETE; the worker ends if a delivered row is still there afterwards",
            TABLE,
            ", ".join(table.triggers),
        )
        _try_triggers(connection)
    return bool(table.triggers)


def check_changed(connection: psycopg.Connection[Any], action: str, keys: Sequence[str], changed: int) -> None:
    """Compare the number of rows that a statement `changed` with its `keys`, whose rows this connection had locked.

    action: what the statement should have done with them, ``deleted`` or ``put back``.

    Raises:
        TableRefused: rows are unchanged. They would be delivered again and again, as fast as the gateway allows.
    """
    if changed == len(keys):
        return
    stored = [row[0] for row in connection.execute(STILL_STORED, [list(keys)]).fetchall()]
    examples = ", ".join(map(repr, stored)) or "none that this role can see"
    raise TableRefused(
        f"{len(keys) - changed} of {len(keys)} rows of {TABLE} could not be {action} after their delivery and would be "
        f"delivered again without end; still stored: {examples}. {LIKELY_REASONS}"
    )


def check_gone(connection: psycopg.Connection[Any], delivered: Sequence[tuple[str, int]]) -> None:
    """Check that no row of `delivered`, keys with their revisions, is back after the commit that deleted it.

    Raises:
        TableRefused: one is. It would be delivered again and again, as fast as the gateway allows.
    """
    keys, revisions = [key for key, _ in delivered], [revision for _, revision in delivered]
    if found := [row[0] for row in connection.execute(CAME_BACK, [keys, revisions]).fetchall()]:
        examples = ", ".join(map(repr, found))
        raise TableRefused(f"rows of {TABLE} are back after their delivery and deletion: {examples}. {LIKELY_REASONS}")


def _try_triggers(connection: psycopg.Connection[Any]) -> None:
    """Put back and delete a row and roll back, because only that shows what the triggers make of it."""
    for action, attempt, check in (("put back", TRY_UPDATE, UPDATED), ("deleted", TRY_DELETE, DELETED)):
        with connection.transaction(force_rollback=True):
            row = connection.execute(TRY_CLAIM).fetchone()
            if row is None:
                return
            connection.execute(attempt, row)
            connection.execute("SET CONSTRAINTS ALL IMMEDIATE")  # a deferred trigger would act at the commit
            if connection.execute(check, row).rowcount != 1:
                raise TableRefused(f"the row of {row[0]!r} in {TABLE} cannot be {action}. {LIKELY_REASONS}")
