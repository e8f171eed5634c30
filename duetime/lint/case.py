"""The input of a rule: a Celery application, and the requirements that it is checked against."""

from __future__ import annotations

import inspect
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
CONSUMER_TIMEOUT = timedelta(minutes=30)
"""RabbitMQ's default since 3.8.17."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A Celery application, and the commands that start its workers."""

    name: str
    app: Celery
    commands: Sequence[WorkerCommand] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One target and its requirements.

    tasks: the tasks of the target that no earlier target has.
    horizon: the longest time between scheduling and due time; zero if no task has an ETA or a countdown.
    lateness: the tolerable lateness after a worker crash.
    servers: the number of hosts that run each worker whose command has no number of its own.
    grace: the time from SIGTERM to SIGKILL when a worker is stopped; None if unknown.
    consumer_timeout: of RabbitMQ; zero if the server has none.
    """

    target: Target
    tasks: Sequence[Task[..., Any]]
    horizon: timedelta
    lateness: timedelta
    servers: int
    grace: timedelta | None = None
    consumer_timeout: timedelta = CONSUMER_TIMEOUT

    def hosts(self, command: WorkerCommand) -> int:
        """Return the number of hosts that run `command`. A `celery beat` without a number is one process."""
        return command.hosts or (self.servers if command.works else 1)

    def of(self, setting: str) -> dict[str, Any]:
        """Return the fields of a finding about `setting`."""
        value = self.target.app.conf[setting]
        return {"setting": setting, "value": repr(value), "is_default": value == DEFAULTS[setting]}

    def of_timeout(self, broker: RedisBroker) -> dict[str, Any]:
        value = f"{broker.visibility_timeout.total_seconds():g}"
        return {"setting": VISIBILITY_TIMEOUT, "value": value, "is_default": broker.is_default}

    def warning(self, **finding: Any) -> Finding:
        return Finding(target=self.target.name, level="warning", **finding)

    def info(self, **finding: Any) -> Finding:
        return Finding(target=self.target.name, level="info", **finding)

    def not_judged(self, **finding: Any) -> Finding:
        return Finding(target=self.target.name, level="not judged", **finding)


def registered(target: Target) -> Sequence[Task[..., Any]]:
    """Return the application's own tasks, without those that Celery registers."""
    tasks: Mapping[str, Task[..., Any]] = target.app.tasks
    return [task for name, task in sorted(tasks.items()) if not name.startswith("celery.")]


def own_tasks(targets: Sequence[Target]) -> Iterator[tuple[Target, Sequence[Task[..., Any]]]]:
    """Yield each target with its own tasks. Celery registers a task in every application of the process."""
    seen: set[object] = set()
    for target in targets:
        tasks = registered(target)
        yield target, [task for task in tasks if _function(task) not in seen]
        seen.update(map(_function, tasks))


def _function(task: Task[..., Any]) -> object:
    return getattr(task, "__wrapped__", type(task))


def calls_retry(task: Task[..., Any], *, without: str = "") -> bool:
    """Return True if the body of `task` calls retry(), and no call in it has an argument `without`."""
    code = getattr(inspect.unwrap(getattr(task, "__wrapped__", task.run)), "__code__", None)
    if code is None or "retry" not in code.co_names:
        return False
    return not any(isinstance(names, tuple) and without in names for names in code.co_consts)
