"""What is read, and what is asked of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from celery import Celery, Task
from celery.app.defaults import DEFAULTS

from duetime.lint.broker import RedisBroker
from duetime.lint.commands import WorkerCommand
from duetime.lint.finding import Finding

VISIBILITY_TIMEOUT = "broker_transport_options['visibility_timeout']"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A Celery application that is to be read, and the commands that start its workers."""

    name: str
    app: Celery
    commands: Sequence[WorkerCommand] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One target, and what is asked of it.

    tasks: those of the target that no target before it has as well.
    horizon: the longest time between schedule and due; zero says that nothing has an ETA or a countdown.
    lateness: what is tolerable after a worker was killed.
    servers: on how many hosts each of the target's commands runs.
    """

    target: Target
    tasks: Sequence[Task[..., Any]]
    horizon: timedelta
    lateness: timedelta
    servers: int

    def of(self, setting: str) -> dict[str, Any]:
        """How a finding names `setting`."""
        value = self.target.app.conf[setting]
        return {"setting": setting, "value": repr(value), "is_default": value == DEFAULTS[setting]}

    def of_timeout(self, broker: RedisBroker) -> dict[str, Any]:
        value = f"{broker.visibility_timeout.total_seconds():g}"
        return {"setting": VISIBILITY_TIMEOUT, "value": value, "is_default": broker.is_default}

    def warning(self, **finding: Any) -> Finding:
        return Finding(target=self.target.name, level="warning", **finding)

    def info(self, **finding: Any) -> Finding:
        return Finding(target=self.target.name, level="info", **finding)


def registered(target: Target) -> Sequence[Task[..., Any]]:
    """The application's own tasks: Celery registers some under its own name."""
    tasks: Mapping[str, Task[..., Any]] = target.app.tasks
    return [task for name, task in sorted(tasks.items()) if not name.startswith("celery.")]


def own_tasks(targets: Sequence[Target]) -> Iterator[tuple[Target, Sequence[Task[..., Any]]]]:
    """Each target with its tasks: Celery gives every application in a process the tasks of all the others as well."""
    told: set[object] = set()
    for target in targets:
        own = registered(target)
        yield target, [task for task in own if _function(task) not in told]
        told.update(map(_function, own))


def _function(task: Task[..., Any]) -> object:
    return getattr(task, "__wrapped__", type(task))
