"""The entry point ``duetime``: its commands, and the exit status of every error.

The commands import the harness inside their functions. That import takes a second, and ``duetime health`` runs every
few seconds.
"""

from __future__ import annotations

import inspect
import os
import re
import signal
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import FrameType
from typing import NoReturn

import click

from duetime.cli.audit import audit_command
from duetime.cli.check import check_command
from duetime.cli.conform import conform_command
from duetime.cli.contenders import contenders_group
from duetime.cli.demo import demo_command
from duetime.cli.deploy import health_command, install_command, migrate_command, serve_command
from duetime.cli.explore import explore_command
from duetime.cli.failed import failed_group
from duetime.cli.league import league_command
from duetime.cli.lint import lint_command
from duetime.cli.listing import designs_command, doctor_command, scenarios_command
from duetime.cli.options import BAD_USAGE, EXIT_STATUS, INTERRUPTED
from duetime.cli.report import report_command
from duetime.cli.runs import compare_command, run_command
from duetime.cli.shrink import shrink_command
from duetime.cli.status import status_command
from duetime.errors import BadUsage, DuetimeError, Interrupted
from duetime.extras import needed_by
from duetime.shell_command import program

LISTINGS = {("designs",), ("scenarios",), ("status",), ("report",), ("failed", "list")}
"""Commands that change nothing that their reader would have to know, and whose exit status is no verdict."""
NEEDS = {
    "demo": "demo",
    "compare": "servers",
    "conform": "servers",
    "doctor": "servers",
    "explore": "servers",
    "league": "servers",
    "run": "servers",
    "shrink": "servers",
}
"""The extra that a command needs; the others do with less, and say what where they need it."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="duetime", prog_name="duetime")
def cli() -> None:
    """How do I reliably do X at time T?

    duetime runs designs of a notification scheduler with a real PostgreSQL and a real broker, injects faults, and
    reports which notifications were missed, duplicated, late, early, stale, or delivered after they were cancelled.

    Designs: pull_worker, push_readmodel and oban_style_queue, each with variants. Default scenarios: calm,
    more_servers, downtime and crash.

    \b
      duetime compare                             run the three designs in the four default scenarios
      duetime run push_readmodel crash            run one design in one scenario
      duetime check runs/…/push_readmodel-seed1   judge a stored run again
      duetime shrink runs/…/pull_worker-seed1     find the smallest plan that still fails
      duetime report runs/…                       write the HTML report of stored runs again
      duetime run my_design.py:design downtime    run a design of your own

    Exit status: 0 pass, 1 fail, 2 bad usage, 3 unknown, 141 if the reader of a pipe ended before the end.
    """


for command in (
    compare_command,
    run_command,
    check_command,
    shrink_command,
    audit_command,
    conform_command,
    explore_command,
    report_command,
    demo_command,
    designs_command,
    scenarios_command,
    contenders_group,
    league_command,
    doctor_command,
    lint_command,
    install_command,
    serve_command,
    health_command,
    status_command,
    failed_group,
    migrate_command,
):
    cli.add_command(command)


def main() -> None:
    """Run the command line. Each error that duetime raises on purpose becomes one sentence and an exit status."""
    _let_children_obey_sigint()
    signal.signal(signal.SIGTERM, _exit)
    signal.signal(signal.SIGHUP, _exit)
    print_examples_as_run(cli)
    try:
        # Not cli(), which turns a broken pipe into status 1, and that means "fail".
        with cli.make_context(program(), sys.argv[1:]) as context, _extra_named(sys.argv[1:]):
            cli.invoke(context)
    except click.exceptions.Exit as ended:
        sys.exit(ended.exit_code)
    except (click.exceptions.Abort, KeyboardInterrupt, Interrupted):
        click.echo("duetime: interrupted; every process that it started has ended", err=True)
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(BAD_USAGE)
    except BadUsage as error:
        click.echo(f"duetime: {error}", err=True)
        sys.exit(BAD_USAGE)
    except DuetimeError as error:
        click.echo(f"duetime: {error}", err=True)
        sys.exit(EXIT_STATUS["unknown"])
    except BrokenPipeError:
        # Python flushes what is left at its exit, would fail again, and would end with 120.
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except BrokenPipeError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        sys.exit(0 if only_lists(sys.argv[1:]) else 128 + signal.SIGPIPE)


def print_examples_as_run(command: click.Command) -> None:
    """Begin the examples in the help of `command`, and of its subcommands, with what starts this duetime here."""
    text = inspect.cleandoc(command.help or "")
    command.help = re.sub(r"(?m)^( +(?:\d  )?)duetime(?= )", lambda start: start[1] + program(), text)
    for subcommand in command.commands.values() if isinstance(command, click.Group) else ():
        print_examples_as_run(subcommand)


def only_lists(arguments: Sequence[str]) -> bool:
    """Return True if nothing is lost when the reader of the command's output ends early, as in ``… | head``."""
    if {"-h", "--help", "--version"} & set(arguments) or list(arguments) == ["contenders"]:
        return True
    return tuple(arguments[:1]) in LISTINGS or tuple(arguments[:2]) in LISTINGS


def _extra_named(arguments: Sequence[str]) -> AbstractContextManager[None]:
    """Name the extra that the command needs if a package is missing. Each command imports its packages itself."""
    command = next((argument for argument in arguments if argument in cli.commands), "")
    return needed_by(f"duetime {command}", least=NEEDS.get(command, "workers"))


def _let_children_obey_sigint() -> None:
    """Go on ignoring SIGINT where the shell wants that, as for ``duetime … &``, without passing it on.

    A process begins with the signals ignored that its parent ignores, and then a worker that stops on SIGINT would not.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda _number, _frame: None)


def _exit(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()
