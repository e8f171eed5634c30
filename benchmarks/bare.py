"""Upper bounds: the least code that drains, without Celery, recovery or a design.

``python -m benchmarks.bare pipeline --batch 1000`` drains the due rows with the drain's own statements and ends;
``two`` does so over two connections, one of which delivers while the other claims; ``timer`` waits for due rows.
"""

from __future__ import annotations

import json
import os
import select
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import psycopg

from duetime.interface import Notification
from duetime.runtime.gateway import Gateway, gateway_from
from duetime.settings import Settings
from push_readmodel.connection import set_up
from push_readmodel.scheduler import CHANNEL
from push_readmodel.statements import BEGIN, CLAIM, DELETE, FRONT_OF_INDEX
from push_readmodel.variants.delete_first import TAKE

Rows = Sequence[tuple[Any, ...]]
Deliver = Callable[[Rows], list[str]]

NEXT_DUE_IN = """
    SELECT extract(epoch FROM attempt_at - clock_timestamp())::float8
    FROM pending_notifications ORDER BY attempt_at LIMIT 1
"""


def connect(url: str) -> psycopg.Connection[Any]:
    connection = psycopg.connect(url.replace("postgresql+psycopg", "postgresql"), autocommit=True)
    connection.execute(set_up(connection))
    return connection


def to_gateway(gateway: Gateway) -> Deliver:
    """Deliver through the gateway of the designs. Returns the rows to delete."""
    parse = json.JSONDecoder().raw_decode

    def deliver(rows: Rows) -> list[str]:
        for _, _, _, key, revision, kind, recipient, due_at, payload in rows:
            gateway.deliver(Notification.from_store(key, revision, kind, recipient, due_at, parse(payload)[0]))
        return keys(rows)

    return deliver


def to_file(path: Path) -> Deliver:
    """Write one line per row with its key and nothing else: the least work possible."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def deliver(rows: Rows) -> list[str]:
        for _, _, _, key, revision, *_ in rows:
            os.write(file, f'{{"op":"{key}/{revision}","at_ns":{time.monotonic_ns()}}}\n'.encode())
        return keys(rows)

    return deliver


def keys(rows: Rows) -> list[str]:
    return [row[3] for row in rows]


def drain(url: str, deliver: Deliver, batch: int, delivering: Any) -> None:
    """DELETE, COMMIT and claim in one round trip, until a claim from the front returns nothing."""
    no_look_ahead = timedelta()
    with connect(url) as connection, connection.pipeline() as pipeline:
        since, delivered = FRONT_OF_INDEX, list[str]()
        while True:
            if delivered:
                connection.cursor().execute(DELETE, [delivered], prepare=True)
                connection.cursor().execute("COMMIT", prepare=True)
            connection.cursor().execute(BEGIN, prepare=True)
            claimed = connection.cursor(binary=True).execute(CLAIM, (since, no_look_ahead, batch), prepare=True)
            pipeline.sync()
            rows = claimed.fetchall()
            if not rows and since is FRONT_OF_INDEX:
                connection.cursor().execute("COMMIT", prepare=True)
                return
            with delivering:
                delivered = deliver(rows) if rows else []
            if not rows:
                connection.cursor().execute("COMMIT", prepare=True)
            since = rows[-1][1] if len(rows) == batch else FRONT_OF_INDEX


def deliver_on_time(url: str, deliver: Deliver) -> None:
    """LISTEN, sleep until the next row is due, delete it, deliver it, and query the next: two round trips, for ever."""
    with connect(url) as listening, connect(url) as connection:
        listening.execute(f"LISTEN {CHANNEL}")
        cursor = connection.cursor(binary=True)
        while True:
            rows = cursor.execute(TAKE, [1000], prepare=True).fetchall()
            # As a claim has them: the attempts come first there, and last here.
            deliver([(attempts, None, None, *row) for *row, attempts in rows])
            next_row = cursor.execute(NEXT_DUE_IN, prepare=True).fetchone()
            if select.select([listening.fileno()], [], [], max(0.0, next_row[0]) if next_row else 60)[0]:
                for _ in listening.notifies(timeout=0):
                    pass


@click.command()
@click.argument("mode", type=click.Choice(["pipeline", "two", "timer"]))
@click.option("--batch", default=1000)
@click.option("--to", type=click.Choice(["gateway", "file"]), default="gateway")
def main(mode: str, batch: int, to: str) -> None:
    settings = Settings.from_environment()
    deliver = to_gateway(gateway_from(settings)) if to == "gateway" else to_file(settings.deliveries)
    print("ready", flush=True)
    if mode == "timer":
        deliver_on_time(settings.database_url, deliver)
    elif mode == "pipeline":
        drain(settings.database_url, deliver, batch, nullcontext())
    else:
        delivering = threading.Lock()
        arguments = (settings.database_url, deliver, batch, delivering)
        threads = [threading.Thread(target=drain, args=arguments) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main()
