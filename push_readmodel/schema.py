"""The read model: what a delivery needs, and nothing else."""

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
    # As narrow as can be: every row enters and leaves it once, and a claim reads it from its front.
    Index("pending_notifications_by_attempt", "attempt_at"),
    postgresql_with={
        # A queue is mostly dead rows: vacuumed by their number, not by their share of a table that may be nearly empty
        # or hold a million rows that are due next year; and at once, because every claim has to step over them.
        "autovacuum_vacuum_scale_factor": 0,
        "autovacuum_vacuum_threshold": 5000,
        "autovacuum_vacuum_cost_delay": 0,
        # The pages will be filled again in a moment, and cutting them off would lock out schedule() and the drain.
        "vacuum_truncate": "off",
    },
)
