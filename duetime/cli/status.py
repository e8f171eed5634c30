"""The command ``duetime status``."""

from __future__ import annotations

import json
import os
from dataclasses import asdict

import click

from duetime import registry
from duetime.cli.obeyed import LIBPQ, settle_environment
from duetime.cli.options import JSON, broker_errors, reason_of
from duetime.errors import BadUsage, CannotBeListed
from duetime.interface import Design, Status
from duetime.settings import Settings


@click.command(name="status")
@click.argument("design", envvar="DUETIME_DESIGN")
@JSON
def status_command(design: str, as_json: bool) -> None:
    """Print the present state of a design in figures. DESIGN defaults to $DUETIME_DESIGN.

    \b
      pending    notifications not delivered yet     claimed   held by workers at this moment
      oldest     the earliest of their due times     retrying  delivery failed, will be retried
      late       seconds since that due time         given up  delivery failed, nothing retries it: duetime failed
      size       of table and indexes, with dead rows

    A dash stands for a figure that the design cannot know. In JSON, `failed` is the figure "retrying". The command
    reads the design's stores and changes nothing.

    \b
      export DUETIME_DATABASE_URL=postgresql://postgres@127.0.0.1:5432/push_readmodel
      export DUETIME_BROKER_URL=redis://127.0.0.1:6379/0
      duetime status push_readmodel
    """
    settle_environment(LIBPQ)
    settings = Settings.from_environment({**os.environ, "DUETIME_DESIGN": design})
    status = _read(registry.load(design), settings)
    if as_json:
        oldest = status.oldest_due_at and status.oldest_due_at.isoformat()
        click.echo(json.dumps({**asdict(status), "oldest_due_at": oldest}))
    else:
        for name, value in _lines(status):
            click.echo(f"{name:<8} {value}")


def _read(design: Design, settings: Settings) -> Status:
    from sqlalchemy.exc import SQLAlchemyError

    from duetime.runtime.database import application_engine

    engine = application_engine(settings)
    try:
        if design.status:
            return design.status(settings, engine)
        return Status(pending=len(design.pending(settings, engine)))
    except CannotBeListed as error:
        return Status(pending=None, note=str(error))
    except broker_errors() as error:
        raise BadUsage(
            f"{design.name} has no status: the broker answers: {error}; correct DUETIME_BROKER_URL"
        ) from None
    except SQLAlchemyError as error:
        raise BadUsage(f"{design.name} has no status: {reason_of(error, settings.design)}") from None
    finally:
        engine.dispose()


def _lines(status: Status) -> list[tuple[str, str]]:
    oldest = status.oldest_due_at.isoformat(sep=" ", timespec="seconds") if status.oldest_due_at else "-"
    figures = [
        ("pending", _number(status.pending)),
        ("oldest", oldest),
        ("late", "-" if status.late_s is None else f"{status.late_s:.3f} s"),
        ("claimed", _number(status.claimed)),
        ("retrying", _number(status.failed)),
        ("given up", _number(status.given_up)),
        ("size", _size(status)),
    ]
    return [*figures, ("", status.note)] if status.note else figures


def _size(status: Status) -> str:
    if status.bytes_of_table is None or status.bytes_of_indexes is None:
        return "-"
    table, indexes = status.bytes_of_table // 1024, status.bytes_of_indexes // 1024
    return f"{table:,} kB, indexes {indexes:,} kB, {_number(status.dead_rows)} dead rows"


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
