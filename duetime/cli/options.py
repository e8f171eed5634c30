"""Options and exit statuses that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from duetime import registry
from duetime.contenders import missing
from duetime.errors import BadUsage
from duetime.harness.processes.environment import own_environment
from duetime.interface import Design
from duetime.shell_command import shell_command

P = ParamSpec("P")
R = TypeVar("R")

EXIT_STATUS = {"pass": 0, "fail": 1, "unknown": 3, "not applicable": 3}
BAD_USAGE = 2
INTERRUPTED = 130
UNITS_S = {"s": 1, "m": 60, "h": 3600}


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """A time such as ``90s``, ``5m`` or ``1h``, in seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        number, unit = str(value)[:-1], str(value)[-1:]
        try:
            seconds = float(number) * UNITS_S[unit]
        except (ValueError, KeyError):
            seconds = 0.0
        if not 0 < seconds < float("inf"):
            self.fail(f"{value!r} is no time; write 90s, 5m or 1h", param, ctx)
        return seconds


OUT = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Create the run directories below this directory, and a link `latest` to the newest.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON value instead of text.")
SLOW = click.option(
    "--slow",
    type=float,
    default=1.0,
    show_default=True,
    metavar="FACTOR",
    help="Make each scenario FACTOR times as long, with its limits and budgets, for a library whose polls or rescues "
    "take longer than the scenario allows.",
)
SEED = click.option("--seed", default=1, show_default=True, help="The same seed gives every design the same plan.")


def in_own_environment(command: Callable[P, R]) -> Callable[P, R]:
    """Let a command that runs designs ignore the variables of the shell that a run does not use."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with own_environment():
            return command(*args, **kwargs)

    return run


NOT_INSTALLED = {"3F000", "42P01", "42703"}
"""SQLSTATE of a schema, table or column that does not exist."""


def reason_of(error: Exception, design: str) -> str:
    """Return the first line of an error of the database, with a question only where `design` is not installed."""
    cause = getattr(error, "orig", None) or error
    reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
    missing = getattr(cause, "sqlstate", None) in NOT_INSTALLED
    return f"{reason}; was it installed ({shell_command('install', design)})?" if missing else reason


def broker_errors() -> tuple[type[Exception], ...]:
    """Return the errors by which a library says that a broker does not answer; of the libraries that are installed."""
    errors: list[type[Exception]] = []
    with suppress(ImportError):
        from redis import RedisError

        errors.append(RedisError)
    with suppress(ImportError):
        from kombu.exceptions import KombuError

        errors.append(KombuError)
    return tuple(errors)


def load_designs(names: Sequence[str]) -> Mapping[str, Design]:
    """Load the designs `names`.

    Raises:
        BadUsage: two of them are the same design, one cannot be loaded, or the library of one is not installed.
    """
    designs = {name: registry.load(name) for name in names}
    for name, design in designs.items():
        if reason := missing_for(design):
            raise BadUsage(f"{name}: {reason}")
    if len({design.name for design in designs.values()}) < len(names):
        raise BadUsage(f"{', '.join(names)}: two of these are the same design or have the same name; write each once")
    return designs


def missing_for(design: Design) -> str:
    """Return what is missing to run the libraries that `design` needs, and how to get it; empty if nothing is."""
    contenders = [design.contender, *(design.contender_of(role.name) for role in design.roles)]
    return next((reason for it in contenders if it and (reason := missing(it.here.name))), "")


def split_names(option: str, value: str) -> list[str]:
    """Split the comma-separated `value` of `option`; empty if it was not given.

    Raises:
        BadUsage: a name occurs twice, or there is none.
    """
    names = [name.strip() for name in value.split(",") if name.strip()]
    if (value and not names) or len(set(names)) < len(names):
        raise BadUsage(f"{option} {value!r}: write names separated by commas, each once")
    return names
