"""The command ``duetime audit``."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from duetime.cli.options import EXIT_STATUS, JSON
from duetime.errors import BadUsage

if TYPE_CHECKING:
    from duetime.audit import Instants, Report, Request


@click.command(name="audit")
@click.option(
    "--promised", required=True, metavar="SOURCE", help="Columns key, revision, due, accepted_at, cancelled_at."
)
@click.option("--delivered", required=True, metavar="SOURCE", help="Columns key, revision, at.")
@click.option(
    "--database",
    envvar="DUETIME_AUDIT_URL",
    default="",
    metavar="URL",
    help="The PostgreSQL database of a query.  [env: DUETIME_AUDIT_URL]",
)
@click.option("--delivered-database", default="", metavar="URL", help="The same for --delivered, if it is another.")
@click.option("--promised-columns", default="", metavar="F=C,…", help="Columns of other names: key=id,due=run_at.")
@click.option("--delivered-columns", default="", metavar="F=C,…", help="The same for --delivered; F= for no column.")
@click.option(
    "--zone", metavar="NAME", help="The zone of times without one, as in Europe/Berlin; else they are refused."
)
@click.option("--from", "from_", metavar="TIME", help="Every delivery since TIME is in the data.  [default: the first]")
@click.option(
    "--to", metavar="TIME", help="Every delivery until TIME is in the data.  [default: the last, or the query]"
)
@click.option("--lateness", default="1m", show_default=True, help="The tolerable lateness.")
@click.option("--early", default="50ms", show_default=True, help="The tolerable time before the due time.")
@click.option("--in-flight", default="5s", show_default=True, help="A delivery may follow a cancel by this long.")
@click.option(
    "--clock-tolerance",
    default="1s",
    show_default=True,
    help="The most by which a recorded time may be wrong, by its clock or because it was read before the commit.",
)
@click.option("--outage", "outages", multiple=True, metavar="FROM/TO", help="Counts neither as late nor as in flight.")
@click.option("--recovery", default="1m", show_default=True, help="Time after an outage that it excuses too.")
@click.option(
    "--assume",
    multiple=True,
    type=click.Choice(["complete", "no-cancels", "accepted-early"]),
    help="What the data does not show and you know; may be repeated.",
)
@click.option("--skip-bad-rows", is_flag=True, help="Count rows that cannot be read instead of stopping.")
@click.option("--hash-keys", is_flag=True, help="Show a keyed hash of each key.")
@click.option(
    "--salt", envvar="DUETIME_AUDIT_SALT", help="The hash's key; at random by default.  [env: DUETIME_AUDIT_SALT]"
)
@click.option("--statement-timeout", default="10m", show_default=True, help="Of the server, for each batch of rows.")
@click.option("--examples", default=5, show_default=True, type=click.IntRange(0, 1000), help="Shown of each kind.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a page to this file.")
@JSON
def audit_command(html: Path | None, as_json: bool, **options: Any) -> None:
    """Audit what production promised against what it delivered.

    SOURCE is a file (.csv, .jsonl, .ndjson, .parquet), a .sql file, or a query. Queries run in a transaction that
    can only read. `revision`, `accepted_at` and `cancelled_at` may be missing; what the data does not prove is
    unknown.

    \b
      duetime audit --promised promised.csv --delivered delivered.csv --html audit.html
      duetime audit --database postgresql://reader@db/shop --promised promised.sql --delivered delivered.sql

    Exit status: 0 pass, 1 fail, 2 bad usage, 3 unknown.
    """
    from duetime.audit import audit

    report = audit(_request(options))
    if html is not None:
        _write_page(report, html)
    if as_json:
        click.echo(json.dumps(report.to_json()))
    else:
        from duetime.audit.text import lines

        click.echo("\n".join(lines(report, width=max(40, min(100, shutil.get_terminal_size().columns)))))
    sys.exit(EXIT_STATUS[report.outcome])


def _request(options: dict[str, Any]) -> Request:
    from duetime.audit import DELIVERED, PROMISED, Instants, Request, Terms, Wanted, key_hash, parse_duration

    instants = Instants(options["zone"])
    terms = Terms(
        lateness_limit_ns=parse_duration("--lateness", options["lateness"]),
        early_tolerance_ns=parse_duration("--early", options["early"]),
        in_flight_ns=parse_duration("--in-flight", options["in_flight"]),
        clock_tolerance_ns=parse_duration("--clock-tolerance", options["clock_tolerance"]),
        recovery_ns=parse_duration("--recovery", options["recovery"]),
        outages=_outages(options["outages"], instants),
        from_ns=_instant("--from", options["from_"], instants),
        to_ns=_instant("--to", options["to"], instants),
        assumed=frozenset(options["assume"]),
    )
    if terms.from_ns is not None and terms.to_ns is not None and terms.to_ns <= terms.from_ns:
        raise BadUsage(f"--from {options['from_']} --to {options['to']}: the end is not after the beginning")
    if terms.to_ns is not None and terms.to_ns > time.time_ns():
        raise BadUsage(f"--to {options['to']}: that is in the future, and no delivery of then can be in the data")
    salt = options["salt"].encode() if options["salt"] else secrets.token_bytes(32)
    if options["salt"] and not options["hash_keys"] and "DUETIME_AUDIT_SALT" not in os.environ:
        raise BadUsage("--salt is of use only with --hash-keys")
    return Request(
        promised=options["promised"],
        delivered=options["delivered"],
        promised_wanted=Wanted.parse("promised", PROMISED, options["promised_columns"]),
        delivered_wanted=Wanted.parse("delivered", DELIVERED, options["delivered_columns"]),
        terms=terms,
        instants=instants,
        database=options["database"],
        delivered_database=options["delivered_database"],
        statement_timeout_ms=parse_duration("--statement-timeout", options["statement_timeout"]) // 10**6,
        rename=key_hash(salt) if options["hash_keys"] else None,
        skip_bad_rows=options["skip_bad_rows"],
        examples=options["examples"],
    )


def _outages(texts: Sequence[str], instants: Instants) -> tuple[tuple[int, int], ...]:
    found = []
    for text in texts:
        start, slash, end = text.partition("/")
        if not slash:
            raise BadUsage(f"--outage {text!r}: write FROM/TO, two times with a slash between them")
        start_ns, end_ns = (_instant("--outage", part, instants) or 0 for part in (start, end))
        if end_ns <= start_ns:
            raise BadUsage(f"--outage {text!r}: its end is not after its beginning")
        found.append((start_ns, end_ns))
    return tuple(sorted(found))


def _instant(option: str, text: str | None, instants: Instants) -> int | None:
    if text is None:
        return None
    try:
        return instants.read(text)
    except ValueError as error:
        raise BadUsage(f"{option} {error}") from None


def _write_page(report: Report, path: Path) -> None:
    from duetime.audit.page import write_page

    try:
        write_page(report, path)
    except OSError as error:
        click.echo(f"duetime: cannot write {path} ({error.strerror}); the verdict is valid", err=True)
