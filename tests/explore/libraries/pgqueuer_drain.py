"""PgQueuer: its queue manager in the mode that ends when nothing is due."""

# Of its own environment.
# mypy: ignore-errors

import asyncio
import json
from datetime import UTC, datetime

from duetime import registry
from duetime.interface import Notification

design = registry.load("contender:pgqueuer")


def drain_once(engine, gateway, _effects):
    asyncio.run(work(engine.url.set(drivername="postgresql").render_as_string(hide_password=False), gateway))


async def work(url, gateway):
    import asyncpg
    from pgqueuer import PgQueuer
    from pgqueuer.domain.types import QueueExecutionMode

    connection = await asyncpg.connect(url)
    pgq = PgQueuer.from_asyncpg_connection(connection)

    @pgq.entrypoint("deliver")
    async def deliver(job):
        fields = json.loads(job.payload)
        due_at = datetime(2000, 1, 1, tzinfo=UTC)
        notification = Notification.from_store(fields["key"], fields["revision"], "explored", "a@b.example", due_at, {})
        await asyncio.to_thread(gateway.deliver, notification, attempt=job.attempts + 1)

    await pgq.qm.run(mode=QueueExecutionMode.drain)
    await connection.close()
