"""The read model: a table with the data of each pending delivery, and a table of those that were given up."""

from __future__ import annotations

from sqlalchemy import Column, DateTime, Index, Integer, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()

pending = Table(
    "pending_notifications",
    metadata,
    Column("key", Text, primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("payload", JSONB, nullable=False),
    Column("due_at", DateTime(timezone=True), nullable=False),
    # Equal to due_at until a delivery fails; then the time of the next attempt.
    Column("attempt_at", DateTime(timezone=True), nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("last_error", Text),
    # Only attempt_at: a claim reads this index from the front, and every further column or index costs each row more.
    Index("pending_notifications_by_attempt", "attempt_at"),
    postgresql_with={
        # Vacuum after a number of dead rows, not after a share of the table: it may be almost empty, or hold a million
        # rows that are due next year. Vacuum without delay, because a claim from the front steps over the dead rows.
        "autovacuum_vacuum_scale_factor": 0,
        "autovacuum_vacuum_threshold": 5000,
        "autovacuum_vacuum_cost_delay": 0,
        # Truncation would lock out schedule() and the drain, and the pages are soon filled again.
        "vacuum_truncate": "off",
    },
)

# Filled only with `max_attempts` (failed.py). A table of its own, so that every row of the other one will be delivered.
failed = Table(
    "failed_notifications",
    metadata,
    Column("key", Text, primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("payload", JSONB, nullable=False),
    Column("due_at", DateTime(timezone=True), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("last_error", Text, nullable=False),
    Column("given_up_at", DateTime(timezone=True), nullable=False),
)
