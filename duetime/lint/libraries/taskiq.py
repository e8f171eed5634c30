"""Taskiq, with the broker and the schedule source of taskiq-redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from duetime.lint.libraries.declaration import Found, Library, Rule, Run, Setting


def read(target: Any) -> Found | None:
    """Return the settings of a broker, or of a scheduler with its broker and its sources."""
    broker, sources = getattr(target, "broker", target), getattr(target, "sources", None)
    if not hasattr(broker, "get_all_tasks"):
        return None
    values = {"idle_timeout": getattr(broker, "idle_timeout", None)}
    if sources is not None:
        values["pre_send"] = all(_is_overridden(source, "pre_send") for source in sources)
    return Found(
        values=values,
        tasks={name: _retries(task.labels, broker.middlewares) for name, task in broker.get_all_tasks().items()},
    )


def _retries(labels: dict[str, Any], middlewares: Sequence[Any]) -> dict[str, Any]:
    """Return whether an error is retried; nothing if a middleware of the project may do it."""
    if any(_is_overridden(middleware, "on_error") and not _is_taskiqs(middleware) for middleware in middlewares):
        return {}
    defaults = [
        middleware.default_retry_label for middleware in middlewares if hasattr(middleware, "default_retry_label")
    ]
    label = labels.get("retry_on_error")
    return {"retry_on_error": bool(defaults) and (any(defaults) if label is None else str(label).lower() == "true")}


def _is_overridden(thing: Any, method: str) -> bool:
    """Return True if the class of `thing` has a `method` of its own, not that of Taskiq's abstract class."""
    return not getattr(type(thing), method).__module__.startswith("taskiq.abc.")


def _is_taskiqs(thing: Any) -> bool:
    return type(thing).__module__.startswith("taskiq.")


LIBRARY = Library(
    name="taskiq",
    title="Taskiq",
    version="0.13.0",
    reads="a scheduler or a broker, for instance taskiq:shop.broker:scheduler",
    read=read,
    commands=("taskiq",),
    example="taskiq scheduler shop.broker:scheduler --update-interval 1",
    fixed="a message of a dead worker is claimed only by a worker that has just received another one, and is executed "
    "again; a schedule that could not be sent is sent after a restart of the scheduler",
    settings=(
        Setting(
            name="update_interval", default=60, unit="s", options=("--update-interval",), subcommands=("scheduler",)
        ),
        Setting(name="idle_timeout", default=600_000, unit="ms", of="a RedisStreamBroker"),
        Setting(name="retry_on_error", default=False, kind="flag", of="a task"),
        Setting(name="pre_send", default=False, kind="flag", of="every schedule source"),
    ),
    rules=(
        Rule(
            setting="update_interval",
            when=lambda case: case["update_interval"] > case.limits.punctual_to,
            effect="delays",
            consequence="the scheduler sends from a list of schedules, which it reads every {update_interval:g} s. A "
            "schedule that is added after that waits for the next reading, also if it is due before.",
            fix="taskiq scheduler … --update-interval 1, which is the least.",
            run=Run(design="contender:taskiq", scenario="calm"),
            see="taskiq/cli/scheduler/run.py:368",
        ),
        Rule(
            setting="idle_timeout",
            when=lambda case: case["idle_timeout"] / 1000 > case.limits.lateness,
            effect="delays",
            consequence="a message of a killed worker is claimed when it was idle for {idle_timeout:g} ms.",
            fix="RedisStreamBroker(idle_timeout=…), below the tolerable lateness, and above the longest task, because "
            "one that takes longer is claimed, too, and executed again, as a duplicate.",
            run=Run(design="contender:taskiq", scenario="crash_before", slow=66),
            see="taskiq_redis/redis_broker.py:163",
        ),
        Rule(
            setting="retry_on_error",
            when=lambda case: not case["retry_on_error"],
            effect="loses",
            consequence="the broker has no middleware that retries, or the task has no retry_on_error: the message of "
            "a task that raises an error is acknowledged, and the task is not executed again.",
            fix="SmartRetryMiddleware(schedule_source=…) and retry_on_error=True, with a max_retries that outlasts the "
            "usual outage of what the task calls.",
            run=Run(design="contender:taskiq", scenario="poison", slow=9),
            see="taskiq/receiver/receiver.py:233",
        ),
        Rule(
            setting="pre_send",
            when=lambda case: not case["pre_send"],
            effect="ignores a cancel",
            consequence="the scheduler does not look at a source again before it sends what it has read, so a schedule "
            "that was deleted meanwhile is executed.",
            fix="a source whose pre_send() raises ScheduledTaskCancelledError if the schedule is gone.",
            run=Run(design="contender:taskiq", scenario="move_and_cancel"),
            see="taskiq/scheduler/scheduler.py:46",
            level="info",
        ),
    ),
)
