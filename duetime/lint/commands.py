"""The options that a worker's command line adds to its settings."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from celery.bin.beat import beat
from celery.bin.worker import worker

from duetime.errors import BadUsage

# The options before the subcommand. Importing Celery's own group would load every installed plug-in, such as Flower.
GLOBAL_OPTIONS = click.Command(
    "celery",
    params=[
        click.Option(["-A", "--app", "app"]),
        click.Option(["-b", "--broker", "broker"]),
        *(click.Option([name]) for name in ("--result-backend", "--loader", "--config", "--workdir")),
        *(click.Option([name], is_flag=True) for name in ("-C", "--no-color", "-q", "--quiet", "--skip-checks")),
    ],
    context_settings={"allow_interspersed_args": False},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerCommand:
    """A command ``celery … worker`` or ``celery … beat``.

    app: the value of -A, or None.
    works: True for ``celery worker``.
    beat: True for -B and for ``celery beat``: the process sends the periodic tasks.
    mingles: False for --without-mingle: the worker does not ask the others for their revokes.
    options: the other options of the subcommand, by the names of Celery's parser, as written; not given: absent or
    None.
    hosts: the number of hosts that run it, as written before the command (``3x celery …``); None if not written.
    environment: the variables before the command (``REMAP_SIGTERM=SIGQUIT celery …``), and those that Celery sets for
    its global options (celery/bin/celery.py).
    """

    line: str
    app: str | None
    works: bool
    beat: bool
    statedb: str | None
    scheduler: str | None
    mingles: bool
    options: Mapping[str, Any] = field(default_factory=dict)
    hosts: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


REMAP = "REMAP_SIGTERM"
"""The variable of a worker's shell with which Celery handles SIGTERM as another signal."""
VARIABLE = re.compile(r"[A-Za-z_]\w*=.*", flags=re.ASCII | re.DOTALL)
GLOBAL_VARIABLES = {
    "broker": "CELERY_BROKER_URL",
    "result_backend": "CELERY_RESULT_BACKEND",
    "loader": "CELERY_LOADER",
    "config": "CELERY_CONFIG_MODULE",
}
COUNT = re.compile(r"(\d+)[x×]", flags=re.ASCII)
ALMOST_A_COUNT = re.compile(r"[-+]?[\d.,]+\s*[x×*]?|[x×*]\s*\d+")
SUBCOMMANDS = {"worker": worker, "beat": beat}


def parse(line: str) -> WorkerCommand:
    """Parse `line` with Celery's own option parser. ``3x celery …`` means that three hosts run the command.

    Raises:
        BadUsage: it starts no Celery worker or beat, an option has no value, or the number of hosts is misspelled.
    """
    try:
        hosts, words = _hosts(line, shlex.split(line))
        before, after = _around_celery(words)
        variables = dict(word.split("=", 1) for word in before if VARIABLE.fullmatch(word))
        outer, words = _options(GLOBAL_OPTIONS, after)
        name = words[0] if words else "nothing"
        inner, rest = _options(SUBCOMMANDS[name], words[1:]) if name in SUBCOMMANDS else ({}, [])
    except (ValueError, click.UsageError) as error:
        raise _not_a_worker(line, str(error)) from error
    if name not in SUBCOMMANDS:
        raise _not_a_worker(line, f"it starts {name}")
    if rest and ALMOST_A_COUNT.fullmatch(rest[-1]):
        raise _bad_count(line, rest[-1])
    return WorkerCommand(
        line=line,
        app=outer.get("app"),
        works=name == "worker",
        beat=name == "beat" or bool(inner.get("beat")),
        statedb=inner.get("statedb"),
        scheduler=inner.get("scheduler"),
        mingles=not inner.get("without_mingle"),
        options=inner,
        hosts=hosts,
        environment=variables | {name: outer[key] for key, name in GLOBAL_VARIABLES.items() if outer.get(key)},
    )


def set_environment(commands: Sequence[WorkerCommand]) -> None:
    """Set the variables that `commands` set for their workers, before their applications are imported.

    Not `REMAP`, which says nothing to an import, and of which the rules ask each command.

    Raises:
        BadUsage: two of them set the same variable to different values.
    """
    together: dict[str, str] = {}
    for command in commands:
        for name, value in command.environment.items():
            if together.setdefault(name, value) != value:
                raise BadUsage(f"--worker {command.line!r} sets {name} as another command does not; name one at a time")
    together.pop(REMAP, None)
    os.environ.update(together)


def _hosts(line: str, words: list[str]) -> tuple[int | None, list[str]]:
    """Take the number of hosts from the beginning of `words`."""
    if words and (count := COUNT.fullmatch(words[0])) and int(count[1]) >= 1:
        return int(count[1]), words[1:]
    if words and ALMOST_A_COUNT.fullmatch(words[0]):
        raise _bad_count(line, words[0])
    return None, words


def _around_celery(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    for number, word in enumerate(words):
        if Path(word).name == "celery":
            return words[:number], words[number + 1 :]
    raise ValueError("it does not call celery")


def _options(command: click.Command, words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    # The parser alone, because converting the values needs a running Celery app.
    context = click.Context(command, ignore_unknown_options=True, **command.context_settings)
    options, remaining, _ = command.make_parser(context).parse_args(list(words))
    return dict(options), remaining


def _not_a_worker(line: str, reason: str) -> BadUsage:
    return BadUsage(
        f"--worker {line!r}: not the command of a worker ({reason.rstrip('.')}); "
        "write the whole command, for instance 'celery -A shop worker -B -c 4'"
    )


def _bad_count(line: str, written: str) -> BadUsage:
    return BadUsage(
        f"--worker {line!r}: {written!r} is not a number of hosts; write it before the command, at least 1, "
        "for instance '3x celery -A shop worker'"
    )
