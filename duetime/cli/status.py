"""`duetime status`: how a running design is doing, in a line for each figure."""

from __future__ import annotations

import json
import os
from dataclasses import asdict

import click

from duetime import registry
from duetime.cli.options import JSON
from duetime.errors import BadUsage
from duetime.interface import Status
from duetime.settings import Settings


@click.command(name="status")
@click.argument("design", envvar="DUETIME_DESIGN")
@JSON
def status_command(design: str, as_json: bool) -> None:
    """How DESIGN (default: $DUETIME_DESIGN) is doing on the servers that DUETIME_… variables name.

    \b
      pending    not delivered yet                   claimed   held by servers at this moment
      oldest     when the first of them is due       failed    tried, and to be tried again
      late       for how long it has been due        size      of table and indexes, with dead rows

    A dash stands for what a design cannot know. It asks the design's own stores, and disturbs nobody.

    \b
      export DUETIME_DATABASE_URL=postgresql://postgres@127.0.0.1:5432/push_readmodel
      export DUETIME_BROKER_URL=redis://127.0.0.1:6379/0
      duetime status push_readmodel
    """
    from redis import RedisError
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    found = registry.load(design)
    settings = Settings.from_environment({**os.environ, "DUETIME_DESIGN": design})
    engine = create_engine(settings.database_url)
    try:
        now = found.status(settings, engine) if found.status else Status(pending=len(found.pending(settings, engine)))
    except RedisError as error:
        raise BadUsage(f"{design} has no status: the broker at {settings.broker_url} says {error}") from None
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error)).splitlines()[0]
        raise BadUsage(
            f"{design} has no status there: {reason}; was it installed (duetime install {design})?"
        ) from None
    finally:
        engine.dispose()
    if as_json:
        told = asdict(now)
        click.echo(json.dumps({**told, "oldest_due_at": now.oldest_due_at and now.oldest_due_at.isoformat()}))
    else:
        for name, value in lines(now):
            click.echo(f"{name:<8} {value}")


def lines(now: Status) -> list[tuple[str, str]]:
    """What is told, figure by figure."""

    def number(value: int | None) -> str:
        return "-" if value is None else f"{value:,}"

    oldest = now.oldest_due_at.isoformat(sep=" ", timespec="seconds") if now.oldest_due_at else "-"
    size = "-"
    if now.bytes_of_table is not None and now.bytes_of_indexes is not None:
        kilobytes = now.bytes_of_table // 1024, now.bytes_of_indexes // 1024
        size = f"{kilobytes[0]:,} kB, indexes {kilobytes[1]:,} kB, {number(now.dead_rows)} dead rows"
    told = [
        ("pending", number(now.pending)),
        ("oldest", oldest),
        ("late", "-" if now.late_s is None else f"{now.late_s:.3f} s"),
        ("claimed", number(now.claimed)),
        ("failed", number(now.failed)),
        ("size", size),
    ]
    return [*told, ("", now.note)] if now.note else told
