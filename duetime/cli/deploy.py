"""The commands for a design outside of a run: ``duetime install``, ``serve``, ``health`` and ``migrate``."""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import click

from duetime import registry
from duetime.cli.obeyed import CELERY, LIBPQ, PROCESS, settle_environment
from duetime.cli.options import broker_errors, missing_for
from duetime.contenders import Contender, filled, places_of
from duetime.errors import BadUsage
from duetime.interface import Design, Role
from duetime.pages import DOCS
from duetime.runtime.heartbeat import HeartbeatRecord, read_heartbeat
from duetime.settings import Settings

HEARTBEAT = "DUETIME_HEARTBEAT"
GATEWAY = "DUETIME_GATEWAY_URL"

NAME = click.option(
    "--name",
    default=socket.gethostname,
    show_default="the host's name",
    help="The worker's name, as deliveries and Flower show it.",
)
STATE = click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("state"),
    show_default=True,
    help="Each worker has its own directory DESIGN/NAME below this one.",
)


@click.command(name="install")
@click.argument("designs", nargs=-1, metavar="[DESIGN]...")
@click.option(
    "--partitions",
    type=int,
    metavar="N",
    help="Create the table of push_readmodel in N hash partitions of its key (docs/performance.md).",
)
def install_command(designs: Sequence[str], partitions: int | None) -> None:
    """Create the tables of designs.

    The tables of the application and of each DESIGN are created in the database at $DUETIME_DATABASE_URL. Without
    DESIGN: the design in $DUETIME_DESIGN, or the three designs. A missing database is created. Existing tables are not
    changed, so the command may be repeated, also by several hosts at the same time.

    \b
      export DUETIME_DATABASE_URL=postgresql://postgres@127.0.0.1:5432/push_readmodel
      duetime install push_readmodel
    """
    from duetime.harness.processes.installation import install

    settle_environment(LIBPQ)
    url = os.environ.get("DUETIME_DATABASE_URL")
    if not url:
        raise BadUsage("DUETIME_DATABASE_URL is not set; export it as postgresql://user@host:5432/name")
    from_environment = os.environ.get("DUETIME_DESIGN")
    names = designs or ([from_environment] if from_environment else registry.default_designs())
    loaded = [registry.load(name) for name in names]
    if partitions is not None and not any(design.install_partitioned for design in loaded):
        raise BadUsage(f"--partitions {partitions}: {', '.join(names)} has no table to partition; name push_readmodel")
    created = install(url, loaded, partitions=partitions)
    click.echo(f"{'created the database; ' if created else ''}installed the application and {', '.join(names)}")


@click.command(name="serve")
@click.argument("design", envvar="DUETIME_DESIGN")
@click.option("--role", metavar="ROLE", help="The kind of process, for a design with several. Default: the first.")
@NAME
@STATE
def serve_command(design: str, role: str | None, name: str, state: Path) -> NoReturn:
    """Run one worker of a design.

    DESIGN defaults to $DUETIME_DESIGN; the DUETIME_… variables are its settings. If $DUETIME_DATABASE_URL leads through
    a pooler in transaction mode, set $DUETIME_DIRECT_DATABASE_URL to the same database without it.

    The command replaces itself by the design's own command (exec), so its process id is the worker's: SIGTERM shuts the
    worker down in an orderly way. The worker writes a heartbeat for `duetime health`.

    The worker inherits the environment, and the command prints which variables count. CELERY_BROKER_URL and BROKER_URL
    are ignored, because DUETIME_BROKER_URL names the broker.

    \b
      export DUETIME_DATABASE_URL=postgresql://postgres@127.0.0.1:5432/push_readmodel
      export DUETIME_BROKER_URL=redis://127.0.0.1:6379/0
      duetime serve push_readmodel --name worker-1
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise BadUsage(f"--name {name!r}: write letters, digits, dots and dashes; Celery calls the worker NAME@DESIGN")
    settle_environment(LIBPQ, CELERY, PROCESS)
    loaded = registry.load(design)
    chosen = _role(loaded, role)
    directory = state.absolute() / loaded.name / name
    heartbeat = _heartbeat_file(loaded.name, name, state).absolute()
    environment = {**os.environ, "DUETIME_DESIGN": design, "DUETIME_WORKER": name, HEARTBEAT: str(heartbeat)}
    if path := registry.search_path(registry.absolute(design)):
        entries = [*filter(None, [os.environ.get("PYTHONPATH")]), path]
        environment["PYTHONPATH"] = os.pathsep.join(entries)
    # Both raise BadUsage, before the process is replaced.
    settings = Settings.from_environment(environment)
    if loaded.check_environment:
        loaded.check_environment(environment)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # The heartbeat of an earlier worker with this name does not describe the new one.
        heartbeat.unlink(missing_ok=True)
    except OSError as error:
        raise BadUsage(f"--state {str(state)!r}: cannot write below it ({error.strerror})") from error
    places = {"worker": name, "state": str(directory), **places_of(settings), **settings.services}
    if contender := loaded.contender_of(chosen.name):
        _check_can_run(loaded, environment)
        places.update(contender.places(settings))
        environment |= contender.environment(settings.database_url, settings.broker_url)
    environment.update({variable: filled(value, places) for variable, value in chosen.environment.items()})
    argv = [filled(part, places) for part in chosen.argv]
    if "celery" in argv and not find_spec("celery"):
        raise ModuleNotFoundError(name="celery")  # which names the extra; after the exec it would not
    sys.stdout.flush()
    os.execvpe(argv[0], argv, environment)  # noqa: S606 - without a shell, signals reach the worker itself


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
    help="How long a heartbeat may be overdue.",
)
def health_command(design: str, name: str, state: Path, patience_s: float) -> NoReturn:
    """Check that a worker does its work.

    The worker NAME of DESIGN was started by `duetime serve` on this host. Each worker writes a heartbeat: what it has
    just done, and within how many seconds it will do so again. It has checked its connection to the database
    (push_readmodel), finished a poll (pull_worker), or checked its connection to the broker and the progress of its
    pool (oban_style_queue). The command reads that file and asks no process, because a paused process could not answer.

    Exit status: 0 healthy, 1 unhealthy, 2 bad usage.
    """
    # For a registered design its name is enough; loading it would take a second.
    design_name = design if design in registry.names() else registry.load(design).name
    heartbeat = read_heartbeat(_heartbeat_file(design_name, name, state))
    healthy, sentence = assess(heartbeat, time.monotonic_ns(), patience_s)
    click.echo(f"{name} of {design_name} {sentence}")
    sys.exit(0 if healthy else 1)


@click.command(name="migrate")
@click.argument("old")
@click.argument("new")
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S.%f%z"]),
    metavar="TIME",
    help="The time with zone up to which OLD has delivered, if it keeps no record: for a poller, the end of its last "
    "window.",
)
def migrate_command(old: str, new: str, since: datetime | None) -> None:
    """Replace the design of a running system.

    OLD is replaced by NEW. The DUETIME_… variables name the database and the broker.

    \b
      1  duetime install OLD-to-NEW, and start the workers of NEW
      2  restart the application with DUETIME_DESIGN=OLD-to-NEW: it still schedules with OLD
      3  duetime migrate OLD NEW: the application schedules with NEW, and pending notifications are moved
      4  when this command has ended, stop the workers of OLD and restart the application with DUETIME_DESIGN=NEW

    If one of them is a library of others, the command continues in the interpreter that has the library
    (docs/contenders.md).

    The command ends when OLD holds nothing any more; repeat it if it was interrupted. If OLD is a poller, stop its
    workers before step 3, and give the same --since each time; notifications that fall due after the stop are
    delivered when the command has ended.
    """
    from duetime.migration import migrate, migration_design
    from duetime.runtime.database import application_engine

    settle_environment(LIBPQ, CELERY)
    old_design, new_design = registry.load(old), registry.load(new)
    both = migration_design(old_design, new_design)
    # The modules of the designs read the variable when they are imported.
    os.environ["DUETIME_DESIGN"] = both.name
    settings = Settings.from_environment()
    if both.contender and both.contender.has_own_python:
        _continue_in_its_python(both, both.contender, ["migrate", old, new, *_since_option(since)])
    engine = application_engine(settings)
    try:
        moved = migrate(old_design, new_design, settings, engine, since=since, report=_echo_changes())
    except BrokenPipeError:
        raise  # nothing is unavailable: the reader of this command's output has gone
    except _unavailable() as error:
        raise BadUsage(
            f"{type(error).__name__}: {error}; restore what is unavailable and run this command again at once"
        ) from None
    click.echo(f"{moved} moved; stop the workers of {old} and restart the application with DUETIME_DESIGN={new}")


def _unavailable() -> tuple[type[Exception], ...]:
    """Return the errors of a migration that mean: the database or the broker does not answer."""
    from sqlalchemy.exc import SQLAlchemyError

    return OSError, SQLAlchemyError, *broker_errors()


def _since_option(since: datetime | None) -> list[str]:
    return ["--since", since.isoformat()] if since else []


def _continue_in_its_python(both: Design, contender: Contender, arguments: list[str]) -> None:
    """Replace this process by the same command in the interpreter that has the library, unless it is that one.

    Raises:
        BadUsage: the library is not installed.
    """
    if Path(sys.prefix) == Path(contender.python).parent.parent:
        return
    if reason := missing_for(both):
        raise BadUsage(f"{both.name}: {reason}")
    environment = {**os.environ, "PYTHONPATH": contender.python_path}
    sys.stdout.flush()
    os.execve(contender.python, [contender.python, "-P", "-m", "duetime.cli", *arguments], environment)  # noqa: S606


def _check_can_run(design: Design, environment: Mapping[str, str]) -> None:
    """Raise BadUsage if the library is not installed, or its workers would not know where to deliver."""
    if reason := missing_for(design):
        raise BadUsage(f"{design.name}: {reason}")
    if not environment.get(GATEWAY):
        raise BadUsage(
            f"{GATEWAY} is not set; workers of {design.name} deliver with an HTTP request: export it as "
            f"http://127.0.0.1:8080/deliver; see {DOCS}/delivering.md"
        )


def assess(heartbeat: HeartbeatRecord | None, now_ns: int, patience_s: float) -> tuple[bool, str]:
    """Return True if the worker with this heartbeat is healthy at `now_ns`, and the rest of a sentence about it."""
    if heartbeat is None:
        return False, "has written no heartbeat yet"
    age_s = (now_ns - heartbeat.at_ns) / 1e9
    if heartbeat.overdue_s(now_ns) > patience_s:
        return (
            False,
            f"last {heartbeat.activity} {age_s:.1f} s ago; expected again within {heartbeat.again_within_s:.1f} s",
        )
    return True, f"{heartbeat.activity} {age_s:.1f} s ago"


def _echo_changes() -> Callable[[str], None]:
    """Return a function that prints a line unless it is the same as the line before."""
    last = ""

    def echo(line: str) -> None:
        nonlocal last
        if line != last:
            click.echo(line)
        last = line

    return echo


def _heartbeat_file(design: str, name: str, state: Path) -> Path:
    given = os.environ.get(HEARTBEAT)
    return Path(given) if given else state / design / name / "heartbeat"


def _role(design: Design, name: str | None) -> Role:
    roles = {role.name: role for role in design.roles}
    if name is None:
        return design.roles[0]
    if name not in roles:
        raise BadUsage(f"--role {name!r}: {design.name} has {', '.join(roles)}; write one of these")
    return roles[name]
