"""Load a Celery application by its name on the command line."""

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
from duetime.lint.transport import transport
from duetime.runtime.broker import OVERRIDES
from duetime.settings import Settings


def load(names: Sequence[str], commands: Sequence[WorkerCommand]) -> list[Target]:
    """Load the applications `names`, each with those of `commands` that start it.

    A name is ``module:app``, ``path/to/file.py:app``, or a registered design, which has its own command.

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
    source, _, attribute = name.rpartition(":")
    if not source or not attribute:
        raise BadUsage(
            f"{name!r} is neither a registered design ({', '.join(registry.names())}) nor an application; "
            "write module:app or path/to/file.py:app"
        )
    sys.path.insert(0, str(Path.cwd()))
    module = _import_file(name, Path(source)) if source.endswith(".py") else _import_module(name, source)
    return Target(name=name, app=_prepared(name, _attribute(name, module, attribute)), commands=commands)


def _load_design(name: str, commands: Sequence[WorkerCommand]) -> Target:
    own_commands = [parse(shlex.join(role.argv)) for role in registry.load(name).roles if "celery" in role.argv]
    if not own_commands or own_commands[0].app is None:
        raise BadUsage(
            f"the design {name!r} runs no Celery worker; write a design that does, or an application of your own"
        )
    module, _, attribute = own_commands[0].app.partition(":")
    with _environment(_placeholders(name)):
        found = _attribute(name, _import_module(name, module), attribute or "app")
        return Target(name=name, app=_prepared(name, found), commands=[*own_commands, *commands])


def _starts(command: WorkerCommand, name: str) -> bool:
    """Return True if `command` may start `name`: -A often names the package above the module with the app."""
    source = name.rpartition(":")[0] or name
    if command.app is None or source.endswith(".py"):
        return True
    app = command.app.partition(":")[0]
    return f"{source}.".startswith(f"{app}.") or f"{app}.".startswith(f"{source}.")


def _import_module(name: str, module: str) -> ModuleType:
    with _bad_usage(name, f"{module} cannot be imported"):
        return importlib.import_module(module)


def _import_file(name: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise BadUsage(f"{name!r}: there is no file {str(path)!r}; check the path")
    sys.path.insert(0, str(path.resolve().parent))
    # With a prefix, an app in celery.py does not replace the module `celery`.
    spec = importlib.util.spec_from_file_location(f"duetime_lint_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise BadUsage(f"{name!r}: Python cannot import {str(path)!r}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with _bad_usage(name, f"{path} cannot be imported"):
        spec.loader.exec_module(module)
    return module


def _attribute(name: str, module: ModuleType, attribute: str) -> object:
    if not hasattr(module, attribute):
        raise BadUsage(f"{name!r}: {module.__name__} has no {attribute!r}; write the name of its Celery application")
    return getattr(module, attribute)


def _prepared(name: str, found: object) -> Celery:
    """Read the configuration of `found` and import its task modules, as a worker does when it starts."""
    if not isinstance(found, Celery):
        raise BadUsage(
            f"{name!r} is of type {type(found).__name__}, not a celery.Celery; write the name of the application"
        )
    with _bad_usage(name, "its configuration or its task modules cannot be loaded"):
        found.loader.import_default_modules()
        found.finalize()
        transport(found)  # raises if kombu has no such transport
    return found


@contextmanager
def _bad_usage(name: str, problem: str) -> Iterator[None]:
    """Turn any exception of the imported code, and its exit, into ``BadUsage``."""
    try:
        yield
    except (Exception, SystemExit) as error:
        sentence = " ".join(str(error).split())
        raise BadUsage(f"{name!r}: {problem}: {type(error).__name__}: {sentence}") from error


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
