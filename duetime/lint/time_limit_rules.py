"""Rules about time limits: tasks that outlast their message's timeout, and pools that ignore limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from celery import Task

from duetime.lint.broker import redis_broker
from duetime.lint.case import VISIBILITY_TIMEOUT, Case
from duetime.lint.commands import WorkerCommand
from duetime.lint.durations import format_duration
from duetime.lint.finding import Finding
from duetime.lint.rabbitmq_rules import rabbit_queues
from duetime.lint.sqs_rules import sqs_broker
from duetime.lint.text import listed

BOTH = ("time_limit", "soft_time_limit")
IGNORED_LIMITS = {"thread": BOTH, "threads": BOTH, "solo": BOTH, "eventlet": BOTH, "gevent": ("soft_time_limit",)}
"""The limits that a pool ignores, by its alias and its module: its `on_apply` drops the arguments."""


def late_task_outlasts_timeout(case: Case) -> Iterator[Finding]:
    setting, timeout = _redelivery(case)
    if not timeout:
        return
    long = [task for task in case.tasks if task.acks_late and (limit := task_limit(case, task)) and limit > timeout]
    if long:
        longest = max(limit for task in long if (limit := task_limit(case, task)))
        yield case.warning(
            setting=setting,
            value=format_duration(timeout),
            is_default=False,
            consequence=f"{listed([str(task.name) for task in long])}: acknowledged late, and allowed to run for "
            f"{format_duration(longest)}. After {format_duration(timeout)} the broker delivers the message again while "
            "the task still runs, so it runs twice at the same time, and again and again if it never ends sooner.",
            fix=f"a time limit below {format_duration(timeout)}, with room for the time that the message waits in the "
            f"worker; or a timeout above {format_duration(longest)}.",
            scenario=None,
            see=("celery#6760",) if setting.startswith("consumer_timeout") else ("kombu#337", "celery#5935"),
        )


def pool_ignores_limits(case: Case) -> Iterator[Finding]:
    workers: Sequence[WorkerCommand | None] = [c for c in case.target.commands if c.works] or [None]
    seen: set[str] = set()
    for command in workers:
        pool = str((command and command.options.get("pool")) or case.target.app.conf.worker_pool)
        ignored = IGNORED_LIMITS.get(pool.partition(":")[0].removeprefix("celery.concurrency."), ())
        if pool in seen or not (found := [name for name in ignored if _is_set(case, command, name)]):
            continue
        seen.add(pool)
        yield case.warning(
            setting="--pool" if command and command.options.get("pool") else "worker_pool",
            value=pool,
            is_default=False,
            consequence=f"this pool ignores {' and '.join(found)}, so a task that hangs occupies its place until the "
            "worker is killed.",
            fix="the prefork pool, or a timeout in the task itself, for instance in each call of the gateway.",
            scenario=None,
        )


def _redelivery(case: Case) -> tuple[str, timedelta | None]:
    """Return the setting and the time after which the broker delivers an unacknowledged message again."""
    if redis := redis_broker(case.target.app):
        return VISIBILITY_TIMEOUT, redis.visibility_timeout
    if sqs := sqs_broker(case):
        return VISIBILITY_TIMEOUT, sqs.visibility_timeout
    # Which queue a task is sent to is not known, so the longest timeout counts.
    timeouts = [queue.timeout for queue in rabbit_queues(case)]
    return "consumer_timeout (RabbitMQ)", max(timeouts) if timeouts and all(timeouts) else None


def task_limit(case: Case, task: Task[..., Any]) -> timedelta | None:
    """Return the time after which `task` ends at the latest; None if nothing limits it."""
    conf = case.target.app.conf
    options = [command.options for command in case.target.commands if command.works] or [{}]
    lengths = []
    for name in BOTH:
        # Celery 5.7 copies the setting to the task; before, it is the default of the pool, like the command's option.
        of_task = _number(getattr(task, name, None))
        of_pools = [_number(given.get(name)) or _number(conf[f"task_{name}"]) for given in options]
        known = [of_task] if of_task else of_pools
        if all(known):
            lengths.append(max(length for length in known if length))
    return timedelta(seconds=min(lengths)) if lengths else None


def _is_set(case: Case, command: WorkerCommand | None, name: str) -> bool:
    of_tasks = any(_number(getattr(task, name, None)) for task in case.tasks)
    return of_tasks or bool(_number(case.target.app.conf[f"task_{name}"] or (command and command.options.get(name))))


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None
