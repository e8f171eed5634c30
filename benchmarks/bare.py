"""Ceilings: the least code that drains, without Celery, without a loop that survives anything, without a design.

``python -m benchmarks.bare pipeline --batch 1000`` drains what is due by the drain's own statements and ends;
``two`` does so over two connections, one of which delivers while the other claims; ``timer`` waits for what falls due.
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
from push_readmodel.drain import CLAIM, DELETE, EPOCH, SET_UP
from push_readmodel.scheduler import CHANNEL
from push_readmodel.variants.delete_first import TAKE

TAKE_AS_TEXT = TAKE.replace("payload", "payload::text")
Rows = Sequence[tuple[Any, ...]]
Deliver = Callable[[Rows], str]

NEXT = """
    SELECT extract(epoch FROM attempt_at - clock_timestamp())::float8
    FROM pending_notifications ORDER BY attempt_at LIMIT 1
"""


def connect(url: str) -> psycopg.Connection[Any]:
    connection = psycopg.connect(url.replace("postgresql+psycopg", "postgresql"), autocommit=True)
    connection.execute(SET_UP)
    return connection


def to_gateway(gateway: Gateway) -> Deliver:
    """Through the gateway that the designs have; returns the rows to delete."""

    parse = json.JSONDecoder().raw_decode

    def deliver(rows: Rows) -> str:
        for _, _, _, _, key, revision, kind, recipient, due_at, payload in rows:
            gateway.deliver(Notification.from_store(key, revision, kind, recipient, due_at, parse(payload)[0]))
        return ids(rows)

    return deliver


def to_file(path: Path) -> Deliver:
    """A line in one write for each, and nothing of the notification but its name: what cannot be undercut."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def deliver(rows: Rows) -> str:
        for _, _, _, _, key, revision, *_ in rows:
            os.write(file, f'{{"op":"{key}/{revision}","at_ns":{time.monotonic_ns()}}}\n'.encode())
        return ids(rows)

    return deliver


def ids(rows: Rows) -> str:
    return '{"' + '","'.join([row[0] for row in rows]) + '"}'


def drain(url: str, deliver: Deliver, batch: int, turn: Any) -> None:
    """DELETE, COMMIT and the next claim in one round trip, until a claim from the front finds nothing."""
    nothing = timedelta()
    with connect(url) as connection, connection.pipeline() as pipeline:
        since, done = EPOCH, ""
        while True:
            if done:
                connection.cursor().execute(DELETE, [done], prepare=True)
                connection.cursor().execute("COMMIT", prepare=True)
            connection.cursor().execute("BEGIN", prepare=True)
            claimed = connection.cursor(binary=True).execute(CLAIM, (since, nothing, batch), prepare=True)
            pipeline.sync()
            rows = claimed.fetchall()
            if not rows and since is EPOCH:
                connection.cursor().execute("COMMIT", prepare=True)
                return
            with turn:
                done = deliver(rows) if rows else ""
            if not rows:
                connection.cursor().execute("COMMIT", prepare=True)
            since = rows[-1][2] if len(rows) == batch else EPOCH


def on_time(url: str, deliver: Deliver) -> None:
    """LISTEN, sleep until the next row is due, delete it, deliver it, and ask for the next: two round trips, for "
    "ever."""
    with connect(url) as listening, connect(url) as connection:
        listening.execute(f"LISTEN {CHANNEL}")
        cursor = connection.cursor(binary=True)
        while True:
            rows = cursor.execute(TAKE_AS_TEXT, [1000], prepare=True).fetchall()
            deliver([("", 0, None, None, *row[1:]) for row in rows])
            following = cursor.execute(NEXT, prepare=True).fetchone()
            if select.select([listening.fileno()], [], [], max(0.0, following[0]) if following else 60)[0]:
                for _ in listening.notifies(timeout=0):
                    pass


@click.command()
@click.argument("how", type=click.Choice(["pipeline", "two", "timer"]))
@click.option("--batch", default=1000)
@click.option("--to", type=click.Choice(["gateway", "file"]), default="gateway")
def main(how: str, batch: int, to: str) -> None:
    settings = Settings.from_environment()
    deliver = to_gateway(gateway_from(settings)) if to == "gateway" else to_file(settings.deliveries)
    print("ready", flush=True)
    if how == "timer":
        on_time(settings.database_url, deliver)
    elif how == "pipeline":
        drain(settings.database_url, deliver, batch, nullcontext())
    else:
        turn = threading.Lock()
        pair = [threading.Thread(target=drain, args=(settings.database_url, deliver, batch, turn)) for _ in range(2)]
        for thread in pair:
            thread.start()
        for thread in pair:
            thread.join()


if __name__ == "__main__":
    main()
