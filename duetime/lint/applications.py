"""Load Celery applications by their names on the command line."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

from celery import Celery

from duetime import registry
from duetime.errors import BadUsage
from duetime.lint.case import Target
from duetime.lint.commands import WorkerCommand, parse
from duetime.lint.find_app import find
from duetime.lint.importing import import_errors
from duetime.lint.transport import transport
from duetime.runtime.broker import OVERRIDES
from duetime.settings import Settings


def load(names: Sequence[str], commands: Sequence[WorkerCommand]) -> list[Target]:
    """Load the applications `names`, each with those of `commands` that start it.

    A name is a registered design, which has its own command, or an application as in `find_app.find`.

    Raises:
        BadUsage: an application cannot be imported or is not a Celery application, or a command starts none of them.
    """
    if len(set(names)) < len(names):
        raise BadUsage(f"{', '.join(names)}: write each target once")
    for command in commands:
        if not any(_starts(command, name) for name in names):
            raise BadUsage(
                f"--worker {command.line!r} starts {command.app!r}, which is none of {', '.join(names)}; "
                "write its application as a target too"
            )
    return [_load(name, [command for command in commands if _starts(command, name)]) for name in names]


def _load(name: str, commands: Sequence[WorkerCommand]) -> Target:
    if name in registry.names():
        return _load_design(name, commands)
    try:
        return Target(name=name, app=_prepared(name, find(name)), commands=commands)
    except BadUsage as error:
        if guess := get_close_matches(name, registry.names(), n=1, cutoff=0.8):
            raise BadUsage(f"{error}. Did you mean the design {guess[0]!r}?") from error
        raise


def _load_design(name: str, commands: Sequence[WorkerCommand]) -> Target:
    own_commands = [parse(shlex.join(role.argv)) for role in registry.load(name).roles if "celery" in role.argv]
    if not own_commands or own_commands[0].app is None:
        raise BadUsage(
            f"the design {name!r} runs no Celery worker; write a design that does, or an application of your own"
        )
    with _environment(_placeholders(name)):
        app = _prepared(name, find(own_commands[0].app))
        return Target(name=name, app=app, commands=[*own_commands, *commands])


def _starts(command: WorkerCommand, name: str) -> bool:
    """Return True if `command` may start `name`: -A often names the package above the module with the app."""
    source = name.rpartition(":")[0] or name
    if command.app is None or source.endswith(".py") or not all(part.isidentifier() for part in source.split(".")):
        return True
    app = command.app.partition(":")[0]
    return f"{source}.".startswith(f"{app}.") or f"{app}.".startswith(f"{source}.")


def _prepared(name: str, app: Celery) -> Celery:
    """Read the configuration of `app` and import its task modules, as a worker does when it starts."""
    # Celery runs Django's checks before the import of the tasks, and those of an application may connect.
    with _environment({"CELERY_SKIP_CHECKS": "1"}), import_errors(name, "its settings or its tasks cannot be loaded"):
        app.loader.import_default_modules()
        app.finalize()
        if transport(app).driver == "redis":  # raises if kombu has no such transport
            import_module("kombu.transport.redis")  # the rules read its defaults; a worker needs its libraries, too
    return app


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _placeholders(design: str) -> Mapping[str, str]:
    """Return the variables that a design's modules need to be imported; no connection is opened."""
    needed = Settings(
        design=design,
        database_url="postgresql+psycopg://localhost/nothing",
        broker_url="redis://localhost:6379/0",
        worker="worker-1",
        deliveries=Path(os.devnull),
        delivery_time=timedelta(0),
        reminder_lead=timedelta(minutes=10),
        poll_interval=timedelta(minutes=1),
    ).environment()
    # Otherwise a broker in the shell, of some other application, would be judged as the design's.
    return {**needed, **dict.fromkeys(OVERRIDES, "")}
