"""The same table in hash partitions of its key."""

from __future__ import annotations

from sqlalchemy import Engine, MetaData, text

from duetime.errors import BadUsage
from push_readmodel.schema import failed, pending

MOST = 256
"""A claim reads the front of each partition's index."""

EXISTING = text("""
    SELECT (SELECT count(*) FROM pg_inherits WHERE inhparent = to_regclass('pending_notifications')) AS partitions
    WHERE to_regclass('pending_notifications') IS NOT NULL
""")
PARTITION = """
    CREATE TABLE pending_notifications_{number} PARTITION OF pending_notifications
    FOR VALUES WITH (MODULUS {partitions}, REMAINDER {number}) WITH ({storage})
"""


def install_partitioned(engine: Engine, partitions: int) -> None:
    """Create the table in `partitions` hash partitions of its key, unless it is so already.

    Raises:
        BadUsage: `partitions` is out of bounds, or the table exists with another number of them.
    """
    if not 2 <= partitions <= MOST:
        raise BadUsage(f"--partitions {partitions}: write a number from 2 to {MOST}")
    with engine.begin() as connection:
        failed.create(connection, checkfirst=True)
        existing = connection.execute(EXISTING).scalar_one_or_none()
        if existing == partitions:
            return
        if existing is not None:
            raise BadUsage(
                f"--partitions {partitions}: pending_notifications exists with {existing or 'no'} partitions and "
                "cannot be changed in place; rename it, install again, and copy its rows while no worker runs"
            )
        table = pending.to_metadata(MetaData())
        options = table.dialect_options["postgresql"]
        # Only a partition has storage parameters.
        storage = ", ".join(f"{name} = {value}" for name, value in options["with"].items())
        options["with"], options["partition_by"] = {}, f"HASH ({pending.c.key.name})"
        table.create(connection)
        for number in range(partitions):
            connection.execute(text(PARTITION.format(number=number, partitions=partitions, storage=storage)))
