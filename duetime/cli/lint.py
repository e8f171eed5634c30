"""The command ``duetime lint``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import click
from click.core import ParameterSource

from duetime.cli.options import JSON
from duetime.errors import BadUsage
from duetime.lint.finding import Finding
from duetime.lint.libraries.catalogue import LIBRARIES, library_of
from duetime.lint.libraries.lint import lint
from duetime.lint.request import run
from duetime.lint.text import lines

CELERY_ONLY = {"servers": "--servers", "consumer_timeout": "--consumer-timeout"}
LIBRARY_ONLY = {"assignments": "--set", "punctual_to": "--punctual-to"}


@click.command(name="lint")
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@click.option(
    "--horizon",
    default="30d",
    show_default=True,
    help="The longest time between scheduling and due time; 0s if no task has an ETA.",
)
@click.option(
    "--punctual-to", default="1s", show_default=True, help="The tolerable lateness while nothing fails. Not for Celery."
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
    help="The interpreter of the project, for instance venv/bin/python: it needs the library (Celery from 5.2), and "
    "not duetime.",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="A setting that is in no object, because it is of a call or in another language. Not for Celery.",
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
    punctual_to: str,
    lateness: str,
    workers: Sequence[str],
    servers: int,
    python: str,
    assignments: Sequence[str],
    grace: str | None,
    consumer_timeout: str,
    as_json: bool,
) -> None:
    """Find settings that lose, duplicate or delay tasks: of Celery, or of another library.

    TARGET is what `celery -A` takes (shop, shop.celery, shop.celery:app), a file, the directory of a project, or a
    registered design. Or it is LIBRARY:MODULE:OBJECT, or LIBRARY alone for its defaults: arq, bullmq, dramatiq, huey,
    oban, pgqueuer, procrastinate, rq, saq, sidekiq, taskiq. The application is imported in a process of its own, with
    the environment of this command; nothing is started, and the linter opens no connection.

    \b
      duetime lint shop --horizon 14d --servers 3 --worker "celery -A shop worker -c 4"
      duetime lint shop --python venv/bin/python --worker "3x celery -A shop worker" \\
          --worker "1x celery -A shop beat"
      duetime lint procrastinate:shop.tasks:app --worker "procrastinate --app=shop.tasks.app worker -p 1"
      duetime lint rq --worker "rq worker --with-scheduler" --set retry=3

    Exit status: 0 no warning, 1 warnings, 2 bad usage.
    """
    targets = [target.removeprefix("celery:") for target in targets]
    libraries = [library for target in targets if (library := library_of(target))]
    _refuse(libraries[0].title if libraries else "Celery", CELERY_ONLY if libraries else LIBRARY_ONLY)
    request = {
        "targets": targets,
        "workers": workers,
        "servers": servers,
        "horizon": horizon,
        "lateness": lateness,
        "punctual_to": punctual_to,
        "grace": grace,
        "consumer_timeout": consumer_timeout,
        "set": assignments,
        "python": python,
    }
    findings = lint(libraries[0], request) if libraries else _of_celery(request)
    warnings = sum(finding.level == "warning" for finding in findings)
    if as_json:
        click.echo(json.dumps({"warnings": warnings, "findings": [finding.to_json() for finding in findings]}))
    else:
        click.echo("\n".join(lines(targets, findings)).rstrip())
    sys.exit(1 if warnings else 0)


def _of_celery(request: Mapping[str, Any]) -> list[Finding]:
    try:
        return run(request)
    except BadUsage as error:
        for target in request["targets"]:
            if guess := get_close_matches(target.partition(":")[0], LIBRARIES, n=1, cutoff=0.8):
                raise BadUsage(f"{error}. Did you mean the library {guess[0]!r}?") from error
        raise


def _refuse(what: str, options: Mapping[str, str]) -> None:
    """Refuse options that have no effect here, so that nobody takes them for obeyed."""
    context = click.get_current_context()
    for name, option in options.items():
        if context.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            raise BadUsage(f"{option} has no effect on {what}; leave it out")
