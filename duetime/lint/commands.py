"""The options that a worker's command line adds to its settings."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from celery.bin.worker import worker

from duetime.errors import BadUsage

# The options before the subcommand. Importing Celery's own group would load every installed plug-in, such as Flower.
GLOBAL_OPTIONS = click.Command(
    "celery",
    params=[
        click.Option(["-A", "--app", "app"]),
        *(click.Option([name]) for name in ("--broker", "-b", "--result-backend", "--loader", "--config", "--workdir")),
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
    options: the other options of the worker, by the names of Celery's parser, as written; not given: absent or None.
    """

    line: str
    app: str | None
    works: bool
    beat: bool
    statedb: str | None
    scheduler: str | None
    mingles: bool
    options: Mapping[str, Any] = field(default_factory=dict)


def parse(line: str) -> WorkerCommand:
    """Parse `line` with Celery's own option parser.

    Raises:
        BadUsage: it starts no Celery worker, or an option has no value.
    """
    try:
        outer, words = _options(GLOBAL_OPTIONS, _after_celery(shlex.split(line)))
        name = words[0] if words else "nothing"
        inner = _options(worker, words[1:])[0] if name == "worker" else {}
    except (ValueError, click.UsageError) as error:
        raise _not_a_worker(line, str(error)) from error
    if name not in {"worker", "beat"}:
        raise _not_a_worker(line, f"it starts {name}")
    return WorkerCommand(
        line=line,
        app=outer.get("app"),
        works=name == "worker",
        beat=name == "beat" or bool(inner.get("beat")),
        statedb=inner.get("statedb"),
        scheduler=inner.get("scheduler"),
        mingles=not inner.get("without_mingle"),
        options=inner,
    )


def _after_celery(words: Sequence[str]) -> list[str]:
    for number, word in enumerate(words):
        if Path(word).name == "celery":
            return list(words[number + 1 :])
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
