"""The command ``duetime lint``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import click

from duetime.cli.options import JSON
from duetime.lint.request import run
from duetime.lint.text import lines


@click.command(name="lint")
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@click.option(
    "--horizon",
    default="30d",
    show_default=True,
    help="The longest time between scheduling and due time; 0s if no task has an ETA.",
)
@click.option("--lateness", default="1m", show_default=True, help="The tolerable lateness after a worker crash.")
@click.option(
    "--worker",
    "workers",
    multiple=True,
    metavar="CMD",
    help="The command line that starts a worker or beat. '3x celery …': three hosts run it.",
)
@click.option(
    "--servers",
    default=2,
    show_default=True,
    type=click.IntRange(min=1),
    help="The number of hosts that run each worker without a number of its own; a `celery beat` without one is one.",
)
@click.option(
    "--python",
    default=sys.executable,
    metavar="PATH",
    help="The interpreter of the project, for instance venv/bin/python: it needs Celery from 5.2, and not duetime.",
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
    python: str,
    grace: str | None,
    consumer_timeout: str,
    as_json: bool,
) -> None:
    """Find Celery settings that lose or duplicate tasks.

    TARGET is what `celery -A` takes (shop, shop.celery, shop.celery:app), a file, the directory of a project, or a
    registered design. The application is imported in a process of its own, with the environment of this command;
    nothing is started, and the linter opens no connection.

    \b
      duetime lint shop --horizon 14d --servers 3 --worker "celery -A shop worker -c 4"
      duetime lint shop --python venv/bin/python --worker "3x celery -A shop worker" \\
          --worker "1x celery -A shop beat"

    Exit status: 0 no warning, 1 warnings, 2 bad usage.
    """
    findings = run(
        {
            "targets": targets,
            "workers": workers,
            "servers": servers,
            "horizon": horizon,
            "lateness": lateness,
            "grace": grace,
            "consumer_timeout": consumer_timeout,
            "python": python,
        }
    )
    warnings = sum(finding.level == "warning" for finding in findings)
    if as_json:
        click.echo(json.dumps({"warnings": warnings, "findings": [finding.to_json() for finding in findings]}))
    else:
        click.echo("\n".join(lines(targets, findings)).rstrip())
    sys.exit(1 if warnings else 0)
