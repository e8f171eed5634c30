"""Oban for Python: its stager and its producer, a round after the other, until nothing is due.

Oban has no mode that ends then. Its own loops call the same methods, by timers and after notifications.
"""

# Of its own environment.
# mypy: ignore-errors

import asyncio
from datetime import UTC, datetime

from duetime import registry
from duetime.interface import Notification

design = registry.load("contender:oban")


def drain_once(engine, gateway, _effects):
    asyncio.run(work(engine.url.set(drivername="postgresql").render_as_string(hide_password=False), gateway))


async def work(url, gateway):
    import jobs  # the adapter's
    from oban._producer import Producer
    from oban._query import Query
    from oban._stager import Stager
    from psycopg_pool import AsyncConnectionPool

    def deliver(job):
        key, revision = job.args["key"], job.args["revision"]
        due_at = datetime(2000, 1, 1, tzinfo=UTC)
        notification = Notification.from_store(key, revision, "explored", "a@b.example", due_at, {})
        gateway.deliver(notification, attempt=job.attempt)

    jobs.post = deliver
    async with AsyncConnectionPool(url, min_size=1, max_size=1, kwargs={"autocommit": True}) as pool:
        query = Query(pool)
        producer = Producer(queue="default", name="explored", node="explored", notifier=None, query=query)
        stager = Stager(notifier=None, producers={"default": producer}, query=query)
        # A job is fetched one round after the statement that staged it, which does not see it as available.
        idle_rounds = 0
        while idle_rounds < 2:
            await stager._stage()
            await producer._produce()
            idle_rounds = 0 if producer._running_jobs else idle_rounds + 1
            while producer._running_jobs:
                await asyncio.wait([task for _, task in producer._running_jobs.values()])
        await producer._ack_jobs()
