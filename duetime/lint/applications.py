"""From a name on the command line to a Celery application that is ready to be read."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import ModuleType

from celery import Celery

from duetime import registry
from duetime.errors import BadUsage
from duetime.lint.case import Target
from duetime.lint.commands import WorkerCommand, parse
from duetime.settings import Settings


def load(names: Sequence[str], commands: Sequence[WorkerCommand]) -> list[Target]:
    """The applications called `names`, each with those of `commands` that start it.

    A name is ``module:app``, ``path/to/file.py:app``, or a registered design, which brings its own command.

    Raises:
        BadUsage: one cannot be imported or is not a Celery application, or a command starts none of them.
    """
    if len(set(names)) < len(names):
        raise BadUsage(f"{', '.join(names)}: name each target once")
    for command in commands:
        if not any(_starts(command, name) for name in names):
            raise BadUsage(
                f"--worker {command.line!r} starts {command.app!r}, which is none of {', '.join(names)}; "
                "name its application as a target too"
            )
    return [_loaded(name, [command for command in commands if _starts(command, name)]) for name in names]


def _loaded(name: str, commands: Sequence[WorkerCommand]) -> Target:
    if name in registry.names():
        return _design(name, commands)
    place, _, attribute = name.rpartition(":")
    if not place or not attribute:
        raise BadUsage(
            f"{name!r} is neither a registered design ({', '.join(registry.names())}) nor an application; "
            "write module:app or path/to/file.py:app"
        )
    sys.path.insert(0, str(Path.cwd()))
    module = _file(name, Path(place)) if place.endswith(".py") else _module(name, place)
    return Target(name=name, app=_ready(name, _attribute(name, module, attribute)), commands=commands)


def _design(name: str, commands: Sequence[WorkerCommand]) -> Target:
    own = [parse(shlex.join(role.argv)) for role in registry.load(name).roles if "celery" in role.argv]
    if not own or own[0].app is None:
        raise BadUsage(f"the design {name!r} runs no Celery worker; name one that does, or an application of your own")
    module, _, attribute = own[0].app.partition(":")
    with _environment(_placeholders(name)):
        found = _attribute(name, _module(name, module), attribute or "app")
        return Target(name=name, app=_ready(name, found), commands=[*own, *commands])


def _starts(command: WorkerCommand, name: str) -> bool:
    """Whether `command` may be about `name`: -A usually names the package above the module that holds the app."""
    place = name.rpartition(":")[0] or name
    if command.app is None or place.endswith(".py"):
        return True
    app = command.app.partition(":")[0]
    return f"{place}.".startswith(f"{app}.") or f"{app}.".startswith(f"{place}.")


def _module(name: str, module: str) -> ModuleType:
    with _told_as(name, f"{module} does not import"):
        return importlib.import_module(module)


def _file(name: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise BadUsage(f"{name!r}: there is no file {str(path)!r}")
    sys.path.insert(0, str(path.resolve().parent))
    # A name of its own: celery.py holding an app must not become everybody's celery.
    spec = importlib.util.spec_from_file_location(f"duetime_lint_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise BadUsage(f"{name!r}: Python cannot import {str(path)!r}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with _told_as(name, f"{path} does not import"):
        spec.loader.exec_module(module)
    return module


def _attribute(name: str, module: ModuleType, attribute: str) -> object:
    if not hasattr(module, attribute):
        raise BadUsage(f"{name!r}: {module.__name__} has no {attribute!r}; write the name of its Celery application")
    return getattr(module, attribute)


def _ready(name: str, found: object) -> Celery:
    """`found` with its configuration read and its task modules imported, as a worker would do at its start."""
    if not isinstance(found, Celery):
        raise BadUsage(f"{name!r} is a {type(found).__name__}, not a celery.Celery; name the application itself")
    with _told_as(name, "its configuration or its task modules cannot be loaded"):
        found.loader.import_default_modules()
        found.finalize()
        with found.connection_for_read() as broker:  # made, not opened: this only finds out the transport
            _ = broker.transport
    return found


@contextmanager
def _told_as(name: str, what: str) -> Iterator[None]:
    """Somebody else's code may raise anything, and may exit."""
    try:
        yield
    except (Exception, SystemExit) as error:
        sentence = " ".join(str(error).split())
        raise BadUsage(f"{name!r}: {what}: {type(error).__name__}: {sentence}") from error


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
    """What a design's modules insist on reading; nothing is connected to."""
    return Settings(
        design=design,
        database_url="postgresql+psycopg://localhost/nothing",
        broker_url="redis://localhost:6379/0",
        worker="worker-1",
        deliveries=Path(os.devnull),
        delivery_time=timedelta(0),
        reminder_lead=timedelta(minutes=10),
        poll_interval=timedelta(minutes=1),
    ).environment()
