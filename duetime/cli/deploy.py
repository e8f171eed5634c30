"""Commands for designs that run outside of a run: install, serve, health."""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NoReturn

import click

from duetime import registry
from duetime.errors import BadUsage
from duetime.interface import MIGRATION_SEPARATOR, Design, Role
from duetime.runtime.heartbeat import HeartbeatRecord, read_heartbeat
from duetime.settings import Settings

HEARTBEAT = "DUETIME_HEARTBEAT"

NAME = click.option(
    "--name",
    default=socket.gethostname,
    show_default="the host's name",
    help="The server's name, as deliveries and Flower show it.",
)
STATE = click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("state"),
    show_default=True,
    help="Below it each server gets a directory DESIGN/NAME of its own.",
)


@click.command(name="install")
@click.argument("designs", nargs=-1, metavar="[DESIGN]...")
def install_command(designs: Sequence[str]) -> None:
    """Create the tables of the application and of DESIGNs in the database at $DUETIME_DATABASE_URL.

    Without a DESIGN: that of $DUETIME_DESIGN, or the three. A database that is missing is created too. What is there
    stays as it is, so this may be repeated, also by several hosts at once.

    \b
      export DUETIME_DATABASE_URL=postgresql://postgres@127.0.0.1:5432/push_readmodel
      duetime install push_readmodel
    """
    from duetime.harness.processes.installation import (
        install,
    )  # late: health is asked every few seconds, and needs none of this

    url = os.environ.get("DUETIME_DATABASE_URL")
    if not url:
        raise BadUsage("DUETIME_DATABASE_URL is not set; name the database, postgresql://user@host:5432/name")
    from_environment = os.environ.get("DUETIME_DESIGN")
    names = designs or ([from_environment] if from_environment else registry.default_designs())
    created = install(url, [registry.load(name) for name in names])
    click.echo(f"{'created the database; ' if created else ''}installed the application and {', '.join(names)}")


@click.command(name="serve")
@click.argument("design", envvar="DUETIME_DESIGN")
@click.option("--role", metavar="ROLE", help="Which of its kinds of process, for a design that has several.")
@NAME
@STATE
def serve_command(design: str, role: str | None, name: str, state: Path) -> NoReturn:
    """Become one server of DESIGN (default: $DUETIME_DESIGN), with the settings that DUETIME_… variables hold.

    This process turns into the design's own command, so whoever watches or ends it has the server itself: SIGTERM
    ends it in good order. It leaves signs of life for `duetime health`.

    \b
      export DUETIME_DATABASE_URL=postgresql://postgres@127.0.0.1:5432/push_readmodel
      export DUETIME_BROKER_URL=redis://127.0.0.1:6379/0
      duetime serve push_readmodel --name worker-1
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise BadUsage(f"--name {name!r}: a server's name is letters, digits, dots, dashes; it becomes NAME@DESIGN")
    found = registry.load(design)
    command = _role(found, role).argv
    own = state.absolute() / found.name / name
    environment = {**os.environ, "DUETIME_DESIGN": design, "DUETIME_WORKER": name}
    environment[HEARTBEAT] = str(_heartbeat(found.name, name, state).absolute())
    Settings.from_environment(environment)
    try:
        own.mkdir(parents=True, exist_ok=True)
        # What an earlier server of this name left says nothing about this one.
        Path(environment[HEARTBEAT]).unlink(missing_ok=True)
    except OSError as error:
        raise BadUsage(f"--state {str(state)!r}: cannot write below it ({error.strerror})") from error
    argv = [part.replace("{worker}", name).replace("{state}", str(own)) for part in command]
    sys.stdout.flush()
    os.execvpe(argv[0], argv, environment)  # noqa: S606 - no shell is the point: signals reach the server itself


@click.command(name="health")
@click.argument("design", envvar="DUETIME_DESIGN")
@NAME
@STATE
@click.option(
    "--patience",
    "patience_s",
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How far beyond its own announcement a sign of life may be overdue.",
)
def health_command(design: str, name: str, state: Path, patience_s: float) -> NoReturn:
    """Whether the server NAME of DESIGN, started by `duetime serve` on this host, does its work.

    Each server writes down what it has just done, and within how many seconds it means to do it again: that it looked
    into the database (push_readmodel), finished a poll (pull_worker), is connected to the broker and its pool gets on
    (oban_style_queue). Nobody asks the server itself: one that stands still could not answer.

    Exit status: 0 healthy, 1 not, 2 bad usage.
    """
    # Of a registered one the name is all it takes, and this is asked every few seconds.
    called = design if design in registry.names() else registry.load(design).name
    healthy, sentence = verdict(read_heartbeat(_heartbeat(called, name, state)), time.monotonic_ns(), patience_s)
    click.echo(f"{name} of {called} {sentence}")
    sys.exit(0 if healthy else 1)


@click.command(name="migrate")
@click.argument("old")
@click.argument("new")
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S.%f%z"]),
    metavar="TIME",
    help="Where OLD had got to, with its zone, if it keeps no record: for a poller the end of its last window.",
)
def migrate_command(old: str, new: str, since: datetime | None) -> None:
    """Swap the design behind schedule() of a running system from OLD to NEW, on the servers that DUETIME_… name.

    \b
      1  duetime install OLD-to-NEW, and start the servers of NEW
      2  restart the application with DUETIME_DESIGN=OLD-to-NEW: its calls still go to OLD
      3  duetime migrate OLD NEW: its calls go to NEW, and what is pending moves
      4  when this has ended, stop the servers of OLD, and restart the application with DUETIME_DESIGN=NEW

    It ends when OLD holds nothing any more; it may be repeated if it was interrupted. A poller has to be stopped before
    step 3, and if this is repeated it needs the same --since; what falls due from its stop on waits until this ends.
    """
    from kombu.exceptions import KombuError
    from redis import RedisError
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    from duetime.migration import migrate

    leaving, joining = registry.load(old), registry.load(new)
    both = registry.load(f"{old}{MIGRATION_SEPARATOR}{new}")
    os.environ["DUETIME_DESIGN"] = both.name  # what the designs' own modules read
    settings = Settings.from_environment()
    engine = create_engine(settings.database_url)
    told = ""

    def tell(line: str) -> None:
        nonlocal told
        if line != told:
            click.echo(line)
        told = line

    try:
        moved = migrate(leaving, joining, settings, engine, since=since, report=tell)
    except (OSError, RedisError, SQLAlchemyError, KombuError) as error:
        raise BadUsage(
            f"{type(error).__name__}: {error}; once what is missing is back, run this again at once"
        ) from None
    click.echo(f"{moved} moved; stop the servers of {old}, and give the application DUETIME_DESIGN={new}")


def verdict(sign: HeartbeatRecord | None, now_ns: int, patience_s: float) -> tuple[bool, str]:
    """Whether a server with this latest `sign` is healthy at `now_ns`, and the rest of a sentence about it."""
    if sign is None:
        return False, "has given no sign of life yet"
    if sign.overdue_s(now_ns) > patience_s:
        return False, (
            f"last {sign.activity} {(now_ns - sign.at_ns) / 1e9:.1f} s ago, and was to do so again within "
            f"{sign.again_within_s:.1f} s"
        )
    return True, f"{sign.activity} {(now_ns - sign.at_ns) / 1e9:.1f} s ago"


def _heartbeat(design: str, name: str, state: Path) -> Path:
    named = os.environ.get(HEARTBEAT)
    return Path(named) if named else state / design / name / "heartbeat"


def _role(design: Design, name: str | None) -> Role:
    roles = {role.name: role for role in design.roles}
    if name is None:
        return design.roles[0]
    if name not in roles:
        raise BadUsage(f"--role {name!r}: {design.name} has {', '.join(roles)}")
    return roles[name]
