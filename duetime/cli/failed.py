"""The commands ``duetime failed list``, ``retry`` and ``discard``: notifications that a design has given up."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from duetime import registry
from duetime.cli.obeyed import LIBPQ, settle_environment
from duetime.cli.options import JSON, reason_of
from duetime.errors import BadUsage
from duetime.interface import GivenUp, GivenUpStore
from duetime.settings import Settings
from duetime.shell_command import shell_command

if TYPE_CHECKING:
    from sqlalchemy import Engine

COLUMNS = ("key", "revision", "kind", "due", "given up", "attempts", "pending", "last error")
MOST_NAMED = 5

KEYS = click.argument("keys", nargs=-1, metavar="[KEY]...")


@click.group(name="failed")
def failed_group() -> None:
    """List, retry or discard notifications that were given up.

    A worker of push_readmodel gives a notification up when its delivery has failed $DUETIME_MAX_ATTEMPTS times, and
    moves it to the table failed_notifications. The default is to retry for ever, because nothing delivers what was
    given up: without a person who looks at this list, and an alert that calls the person, it is lost.

    \b
      export DUETIME_DATABASE_URL=postgresql://postgres@127.0.0.1:5432/push_readmodel
      export DUETIME_BROKER_URL=redis://127.0.0.1:6379/0
      duetime failed list push_readmodel
      duetime failed retry push_readmodel event-reminder:42:7
    """


@failed_group.command(name="list")
@click.argument("design", envvar="DUETIME_DESIGN")
@click.option("--limit", type=click.IntRange(min=0), default=50, show_default=True, help="How many at most; 0 for all.")
@click.option("--recipients", is_flag=True, help="Print recipients too. These are personal data.")
@JSON
def list_command(design: str, limit: int, recipients: bool, as_json: bool) -> None:
    """List what was given up, the longest ago first.

    Prints a table on a terminal, and in a pipe a line for each with tabs between the columns: key, revision, kind, due
    time, time of giving up, attempts, pending revision of the same key, last error. Payloads are never printed, and
    recipients only if asked for; but the text of an error, which the gateway wrote, may name a recipient.
    """
    with _opened(design) as opened:
        found = opened.store.find(opened.engine, limit=limit + 1 if limit else None)
    shown = found[:limit] if limit else found
    if as_json:
        click.echo(json.dumps([_as_json(item, recipients) for item in shown]))
    elif sys.stdout.isatty():
        _print_table(shown, recipients)
    else:
        for item in shown:
            click.echo("\t".join(_row(item, recipients)))
    if len(found) > len(shown):
        click.echo(f"these are the first {limit} of more; write --limit 0 for all", err=True)


@failed_group.command(name="retry")
@click.argument("design")
@KEYS
@click.option("--all", "everything", is_flag=True, help="Retry everything that was given up, instead of KEYs.")
def retry_command(design: str, keys: Sequence[str], everything: bool) -> None:
    """Deliver given-up notifications after all, now.

    Moves each back to the pending notifications, due at once, with its attempts counted from 0. Skips a notification
    whose key is pending: what the application scheduled since then is delivered instead of it.

    Exit status: 0 all were put back, 1 some were skipped, 2 bad usage.
    """
    with _opened(design) as opened:
        chosen = opened.choose("retry", keys, everything)
        left = {item.op: item for item in chosen}
        for op in opened.store.retry(opened.engine, chosen):
            del left[op]
            click.echo(f"put back {visible(op)}")
        now_given_up = {item.op: item for item in opened.store.find(opened.engine, keys=[i.key for i in left.values()])}
    for op in left:
        item = now_given_up.get(op)
        reason = (
            f"revision {item.pending_revision} is pending" if item and item.pending_revision else "changed meanwhile"
        )
        click.echo(f"skipped {visible(op)}: {reason}")
    sys.exit(1 if left else 0)


@failed_group.command(name="discard")
@click.argument("design")
@KEYS
@click.option("--all", "everything", is_flag=True, help="Discard everything that was given up, instead of KEYs.")
@click.option("--yes", is_flag=True, help="Do not ask before --all.")
def discard_command(design: str, keys: Sequence[str], everything: bool, yes: bool) -> None:
    """Remove given-up notifications for ever.

    Prints each that was removed: nothing else records it. --all asks first.

    Exit status: 0 all were removed, 1 some were not, 2 bad usage.
    """
    with _opened(design) as opened:
        chosen = opened.choose("discard", keys, everything)
        if everything and chosen and not yes:
            if not sys.stdin.isatty():
                raise BadUsage(f"--all would remove {len(chosen)} notifications for ever; add --yes")
            if not click.confirm(f"remove {len(chosen)} notifications of {design} for ever?"):
                click.echo("nothing was removed")
                sys.exit(1)
        removed = 0
        for op in opened.store.discard(opened.engine, chosen):
            removed += 1
            click.echo(f"removed {visible(op)}")
    sys.exit(0 if removed == len(chosen) else 1)


@dataclass(frozen=True, slots=True)
class _Opened:
    design: str
    store: GivenUpStore
    engine: Engine

    def choose(self, verb: str, keys: Sequence[str], everything: bool) -> Sequence[GivenUp]:
        """Return the given-up notifications of `keys`, or all.

        Raises:
            BadUsage: neither keys nor --all, or both; or a key was not given up.
        """
        if everything == bool(keys):
            raise BadUsage(
                f"{verb}: write the keys that `{shell_command('failed', 'list', self.design)}` prints, or --all"
            )
        if everything:
            return self.store.find(self.engine)
        found = self.store.find(self.engine, keys=keys)
        unknown = sorted(set(keys) - {item.key for item in found})
        if unknown:
            named = ", ".join(repr(key) for key in unknown[:MOST_NAMED])
            more = f" and {len(unknown) - MOST_NAMED} more" if len(unknown) > MOST_NAMED else ""
            raise BadUsage(
                f"{verb}: nothing is given up under {named}{more}, and nothing was changed; "
                f"write keys as `{shell_command('failed', 'list', self.design)}` prints them"
            )
        return found


@contextmanager
def _opened(name: str) -> Iterator[_Opened]:
    """Open the store of the design `name`.

    Raises:
        BadUsage: it has none, or the database refuses.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from duetime.runtime.database import application_engine

    settle_environment(LIBPQ)
    design = registry.load(name)
    if design.given_up is None:
        raise BadUsage(f"{design.name} keeps nothing that it has given up; write push_readmodel")
    settings = Settings.from_environment({**os.environ, "DUETIME_DESIGN": name})
    engine = application_engine(settings)
    try:
        yield _Opened(name, design.given_up, engine)
    except SQLAlchemyError as error:
        raise BadUsage(f"cannot read what {design.name} has given up: {reason_of(error, name)}") from None
    finally:
        engine.dispose()


def visible(text: str) -> str:
    """Return `text` on one line. It is not ours, and a terminal would obey its control characters, so escape them."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _as_json(item: GivenUp, recipients: bool) -> dict[str, Any]:
    data = {**asdict(item), "due_at": item.due_at.isoformat(), "given_up_at": item.given_up_at.isoformat()}
    return data if recipients else {name: value for name, value in data.items() if name != "recipient"}


def _row(item: GivenUp, recipients: bool) -> list[str]:
    pending = "-" if item.pending_revision is None else str(item.pending_revision)
    row = [item.key, str(item.revision), item.kind, _utc(item.due_at), _utc(item.given_up_at), str(item.attempts)]
    return [visible(text) for text in [*row, pending, item.last_error, *([item.recipient] if recipients else [])]]


def _utc(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(sep=" ", timespec="seconds")


def _print_table(items: Sequence[GivenUp], recipients: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from duetime.report.table import PipeConsole

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in (*COLUMNS, *(["recipient"] if recipients else [])):
        table.add_column(
            name, overflow="fold", justify="right" if name in {"revision", "attempts", "pending"} else "left"
        )
    for item in items:
        table.add_row(*(Text(text) for text in _row(item, recipients)))
    PipeConsole(highlight=False).print(table if items else "nothing was given up")
