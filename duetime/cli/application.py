"""``duetime run celery:APP``: the generic queue with the settings of somebody's own application."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from duetime.errors import BadUsage
from duetime.lint.request import ask

P = ParamSpec("P")
R = TypeVar("R")
PREFIX = "celery:"
DESIGN = """\
from oban_style_queue.variants.application import application_design

SETTINGS = {settings!r}
design = application_design(
    {name!r}, "celery_application_worker", SETTINGS, arguments={arguments!r}, environment={environment!r}
)
"""
WORKER = """\
from duetime.settings import Settings
from celery_application import SETTINGS
from oban_style_queue.variants.application import make_app

app = make_app(Settings.from_environment(), SETTINGS)
"""


def application_options(command: Callable[P, R]) -> Callable[P, R]:
    """Add the options of celery:APP. The command gets a design in its place, made with the caller's environment."""

    @click.option("--worker", metavar="CMD", help="With celery:APP: the command line that starts its worker.")
    @click.option("--task", metavar="NAME", help="With celery:APP: the task whose own options count.")
    @click.option(
        "--python",
        metavar="PATH",
        help="With celery:APP: the interpreter of its project, which needs Celery from 5.2, and not duetime.",
    )
    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        given: dict[str, Any] = {name: kwargs.pop(name) for name in ("worker", "task", "python")}
        from duetime.harness.plan.lookup import named

        design, scenario, out = kwargs["design"], kwargs["scenario"], kwargs["out"]
        assert isinstance(design, str) and isinstance(scenario, str) and isinstance(out, Path)  # noqa: S101 - for mypy
        if design.startswith(PREFIX) and not scenario.endswith(".json"):
            named(scenario)  # refuses a bad name before the application is imported
        kwargs["design"] = _design_of(design, out, given)
        return command(*args, **kwargs)

    return wrapped


def _design_of(name: str, out: Path, given: Mapping[str, str | None]) -> str:
    """Write a design with the settings of the application in `name` below `out`, say what it has, and return its name.

    Any other name is returned as it is.
    """
    if not name.startswith(PREFIX):
        for option, value in given.items():
            if value:
                raise BadUsage(f"--{option} {value!r} is for {PREFIX}APP, and the design is {name!r}; leave it out")
        return name
    target = name.removeprefix(PREFIX)
    if not target:
        raise BadUsage(f"{name!r} names no application; write what `celery -A` takes, such as {PREFIX}shop.celery:app")
    request = {**given, "python": given["python"] or sys.executable, "targets": [target], "copy": True}
    copied = ask(request)
    _check_pool(target, copied)
    text = DESIGN.format(name=re.sub(r"[^\w.:-]", "_", name), **copied)
    # By its content: the design of an earlier run stays as it was, and the run can be repeated.
    directory = out / "applications" / hashlib.sha256(text.encode()).hexdigest()[:12]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "celery_application.py").write_text(text, encoding="utf-8")
        (directory / "celery_application_worker.py").write_text(WORKER, encoding="utf-8")
    except OSError as error:
        raise BadUsage(f"--out {str(out)!r}: cannot write {str(directory)!r} ({error.strerror})") from error
    _print(target, copied)
    return f"{directory / 'celery_application.py'}:design"


def _check_pool(target: str, copied: Mapping[str, Any]) -> None:
    """Refuse a pool whose library duetime's workers cannot import."""
    wanted = {argument.partition("=")[2] for argument in copied["arguments"] if argument.startswith("--pool=")}
    for pool in wanted | {copied["settings"].get("worker_pool")}:
        if pool in ("eventlet", "gevent") and not find_spec(pool):
            raise BadUsage(f"{target}: its workers use {pool}, which duetime's environment lacks: pip install {pool}")


def _print(target: str, copied: Mapping[str, Any]) -> None:
    from duetime.harness.plan.fault_scenarios import DEPLOY_GRACE_S

    taken = [f"{key} = {value!r}" for key, value in copied["settings"].items()]
    taken += [*copied["arguments"], *(f"{key}={value}" for key, value in copied["environment"].items())]
    click.echo(f"duetime: the generic queue with the settings of {target}: not its tasks, not its broker", err=True)
    click.echo(f"  taken: {', '.join(taken) or 'nothing, because all of these settings are defaults'}", err=True)
    if copied["left_out"]:
        said = "left out, because a run has its own servers, queues and task"
        click.echo(f"  {said}: {', '.join(copied['left_out'])}", err=True)
    if copied["not_copied"]:
        said = "cannot be copied, so that the run differs from your application in"
        click.echo(f"  {said}: {', '.join(copied['not_copied'])}", err=True)
    if copied["settings"].get("worker_soft_shutdown_timeout"):
        click.echo(f"  note: the grace of deploy_too_slow is {DEPLOY_GRACE_S:g} s", err=True)
    for package, theirs in copied["versions"].items():
        if theirs != (ours := version(package)):
            click.echo(f"  {package} is {theirs} there, and {ours} in the run, which may differ in a fault", err=True)
    if copied["tasks"]:
        click.echo(f"  not taken without --task NAME: options of {'; '.join(copied['tasks'])}", err=True)
