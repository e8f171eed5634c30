"""The command ``duetime lint``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import click

from duetime.cli.options import JSON


@click.command(name="lint")
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@click.option(
    "--horizon",
    default="30d",
    show_default=True,
    help="The longest time between scheduling and due time; 0s if no task has an ETA.",
)
@click.option("--lateness", default="1m", show_default=True, help="The tolerable lateness after a worker crash.")
@click.option("--worker", "workers", multiple=True, metavar="CMD", help="The command line that starts a worker.")
@click.option(
    "--servers", default=2, show_default=True, type=click.IntRange(min=1), help="The number of hosts for each command."
)
@click.option("--grace", help="The time from SIGTERM to SIGKILL when a worker is stopped: Docker 10s, Kubernetes 30s.")
@click.option(
    "--consumer-timeout",
    default="30m",
    show_default=True,
    help="RabbitMQ's consumer_timeout; 0s if it has none, as for classic queues from RabbitMQ 4.3.",
)
@JSON
def lint_command(
    targets: Sequence[str],
    horizon: str,
    lateness: str,
    workers: Sequence[str],
    servers: int,
    grace: str | None,
    consumer_timeout: str,
    as_json: bool,
) -> None:
    """Find Celery settings that lose or duplicate tasks.

    TARGET is module:app, path/to/file.py:app, or the name of a registered design. The application is imported; nothing
    is started, and no connection is opened.

    \b
      duetime lint shop.celery:app --horizon 14d --worker "celery -A shop worker -B -c 4" --servers 3

    Exit status: 0 no warning, 1 warnings, 2 bad usage.
    """
    from duetime import lint  # imports Celery

    longest, tolerable = lint.duration("--horizon", horizon), lint.duration("--lateness", lateness)
    loaded = lint.load(targets, [lint.parse(line) for line in workers])
    findings = lint.lint(
        loaded,
        horizon=longest,
        lateness=tolerable,
        servers=servers,
        grace=lint.duration("--grace", grace) if grace is not None else None,
        consumer_timeout=lint.duration("--consumer-timeout", consumer_timeout),
    )
    warnings = sum(finding.level == "warning" for finding in findings)
    if as_json:
        click.echo(json.dumps({"warnings": warnings, "findings": [finding.to_json() for finding in findings]}))
    else:
        click.echo("\n".join(lint.lines(targets, findings)).rstrip())
    sys.exit(1 if warnings else 0)
