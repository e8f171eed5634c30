"""Procrastinate: its worker in the mode that ends when nothing is due."""

# Of its own environment.
# mypy: ignore-errors

import asyncio
from datetime import UTC, datetime

from duetime import registry
from duetime.interface import Notification

design = registry.load("contender:procrastinate")


def drain_once(engine, gateway, _effects):
    asyncio.run(work(engine.url.set(drivername="postgresql").render_as_string(hide_password=False), gateway))


async def work(url, gateway):
    from procrastinate import App, PsycopgConnector

    app = App(connector=PsycopgConnector(conninfo=url, min_size=1))

    @app.task(name="deliver", pass_context=True)
    def deliver(context, key, revision):
        due_at = datetime(2000, 1, 1, tzinfo=UTC)
        notification = Notification.from_store(key, revision, "explored", "a@b.example", due_at, {})
        gateway.deliver(notification, attempt=context.job.attempts + 1)

    async with app.open_async():
        await app.run_worker_async(wait=False, install_signal_handlers=False, listen_notify=False)
