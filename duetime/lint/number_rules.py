"""Rules about settings whose value is not the number that Celery or kombu computes with.

Each consequence was observed with Celery 5.7.0 on Valkey, except those of SQS, which were read in kombu's source. A
setting that Celery converts itself, such as the string "1" as `worker_prefetch_multiplier`, has no finding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from celery import Task
from celery.utils.time import rate

from duetime.lint.case import Case, calls_retry
from duetime.lint.finding import Finding
from duetime.lint.text import listed
from duetime.lint.transport import transport

EXITS = "a worker exits with status 1 when it starts."
RAISES = "apply_async() raises a TypeError, so nothing is sent."
SECONDS = "a number of seconds, without quotes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """What a setting accepts, and the consequence of anything else.

    text: True if Celery converts a string that holds a number.
    none: True if None has a meaning.
    least: the smallest value that makes sense; `below` is the consequence of a smaller one.
    """

    wrong: str
    text: bool = False
    none: bool = False
    least: float | None = None
    below: str = ""
    fix: str = SECONDS

    def consequence(self, value: object) -> str:
        """Return the consequence of `value`, or an empty string if Celery accepts it."""
        if value is None or value == "":
            return "" if self.none and (value is None or self.text) else self.wrong
        if value is False and self.none:
            return ""
        if isinstance(value, str) and self.text:
            try:
                value = float(value)
            except ValueError:
                return self.wrong
        if isinstance(value, bool) or not isinstance(value, int | float):
            return self.wrong
        return self.below if self.least is not None and value < self.least else ""


LIMIT = Number(
    wrong="a worker exits with status 1 when a task with the limit begins, or apply_async() raises a TypeError.",
    text=True,
    none=True,
    least=0,
    below="each task is ended as soon as it begins.",
)
SETTINGS: Mapping[str, Number] = {
    "worker_prefetch_multiplier": Number(
        wrong=EXITS, text=True, least=0, below="the workers receive no task at all.", fix="a number of 0 or more"
    ),
    "worker_eta_task_limit": Number(
        wrong="a worker exits with status 1 when it receives a task with an ETA or a countdown.",
        none=True,
        fix="a number, without quotes",
    ),
    "task_time_limit": LIMIT,
    "task_soft_time_limit": LIMIT,
    "worker_soft_shutdown_timeout": Number(
        wrong="a cold shutdown ends in a TypeError: the worker exits with status 1 and waits for no task."
    ),
    "worker_max_tasks_per_child": Number(wrong=EXITS, none=True, least=1, below=EXITS, fix="a number above 0, or None"),
    "worker_max_memory_per_child": Number(
        wrong="each process of the pool ends in a TypeError after a task.", none=True, fix="a number of kilobytes"
    ),
    "broker_connection_timeout": Number(wrong=RAISES, none=True),
    "broker_pool_limit": Number(
        wrong="an apply_async() raises a TypeError.",
        none=True,
        least=0,
        below="apply_async() waits without end.",
        fix="a number of 0 or more, or None",
    ),
    "beat_max_loop_interval": Number(wrong="beat ends when it starts, so no periodic task is sent.", none=True),
}
REDIS_OPTIONS: Mapping[str, Number] = {
    "visibility_timeout": Number(
        wrong=EXITS, least=1, below="each check delivers every unacknowledged message again, and every copy runs."
    ),
    "unacked_restore_interval": Number(wrong=EXITS),
    "unacked_restore_throttle": Number(wrong=EXITS, none=True, fix="a number, without quotes"),
    "health_check_interval": Number(wrong=EXITS, none=True),
    "socket_timeout": Number(wrong=EXITS, none=True),
}
SQS_OPTIONS: Mapping[str, Number] = {
    "visibility_timeout": Number(wrong=EXITS, text=True, none=True, least=0, below="SQS refuses to create the queue."),
    "wait_time_seconds": Number(
        wrong="SQS refuses each request for messages.", least=0, below="SQS refuses each request for messages."
    ),
    "polling_interval": Number(wrong="the worker stops to ask for messages after the first empty answer.", none=True),
}
OPTIONS: Mapping[str, Mapping[str, Number]] = {"redis": REDIS_OPTIONS, "sqs": SQS_OPTIONS}


def not_a_number(case: Case) -> Iterator[Finding]:
    conf = case.target.app.conf
    for name, number in SETTINGS.items():
        if consequence := number.consequence(conf[name]):
            yield _warning(case, name, conf[name], consequence, number.fix)
    found = transport(case.target.app)
    for name, number in OPTIONS.get(found.driver, {}).items():
        if name in found.options and (consequence := number.consequence(found.options[name])):
            yield _warning(case, f"broker_transport_options[{name!r}]", found.options[name], consequence, number.fix)


def task_option_not_a_number(case: Case) -> Iterator[Finding]:
    conf = case.target.app.conf
    for name in ("time_limit", "soft_time_limit"):
        for task in case.tasks:
            value = getattr(task, name, None)
            if value != conf[f"task_{name}"] and (consequence := LIMIT.consequence(value)):
                yield _warning(case, name, value, f"{task.name}: {consequence}", SECONDS)
    for task in case.tasks:
        if not _is_expiry(expires := getattr(task, "expires", None)):
            yield _warning(case, "expires", expires, f"{task.name}: apply_async() raises an error.", SECONDS)

        yield from _retry_not_a_number(case, task)
        if not _is_rate(rate_limit := getattr(task, "rate_limit", None)):
            fix = 'a number, or a string such as "10/m" (s, m or h)'
            yield _warning(case, "rate_limit", rate_limit, f"{task.name}: {EXITS}", fix)


def _retry_not_a_number(case: Case, task: Task[..., Any]) -> Iterator[Finding]:
    """Find what retry() compares or adds. Celery converts retry_backoff and retry_backoff_max itself."""
    automatic = bool(getattr(task, "autoretry_for", ()))
    given = (getattr(task, "retry_kwargs", None) or {}) if automatic else {}
    backoff = automatic and bool(getattr(task, "retry_backoff", False))
    for argument, attribute in (("max_retries", "max_retries"), ("countdown", "default_retry_delay")):
        if argument == "countdown" and (backoff or given.get("eta")):
            continue
        if not automatic and not calls_retry(task, without=argument):
            continue
        inside = given.get(argument) is not None
        value = given[argument] if inside else getattr(task, attribute, None)
        if value is not None and not isinstance(value, int | float):
            name = f"retry_kwargs[{argument!r}]" if inside else attribute
            consequence = f"{task.name}: a retry that does not set {argument} raises a TypeError, so it is not sent."
            yield _warning(case, name, value, consequence, "a number, without quotes")


def beat_entry_not_a_number(case: Case) -> Iterator[Finding]:
    entries = case.target.app.conf.beat_schedule or {}
    mappings = {name: entry for name, entry in sorted(entries.items()) if isinstance(entry, Mapping)}
    if texts := [name for name, entry in mappings.items() if isinstance(entry.get("schedule"), str)]:
        yield _warning(
            case,
            "beat_schedule[…]['schedule']",
            mappings[texts[0]]["schedule"],
            f"{listed(texts)}: beat ends when it starts, so no periodic task is sent.",
            "a number of seconds, a timedelta or a crontab",
        )
    for name, entry in mappings.items():
        options = entry.get("options") or {}
        if not _is_expiry(expires := options.get("expires")):
            yield _warning(
                case,
                "beat_schedule[…]['options']['expires']",
                expires,
                f"{name}: beat cannot send it, and logs an error at each turn.",
                SECONDS,
            )


def _is_rate(value: Any) -> bool:
    """Return True if Celery can compute a rate from `value`."""
    try:
        return isinstance(rate(value), int | float)
    except (KeyError, TypeError, ValueError):
        return False


def _is_expiry(value: object) -> bool:
    """Return True if Celery accepts `value` as `expires`: a number, a datetime, or an ISO 8601 string."""
    if isinstance(value, str):
        try:
            datetime.fromisoformat(value)
        except ValueError:
            return False
        return True
    return value is None or isinstance(value, int | float | datetime)


def _warning(case: Case, setting: str, value: Any, consequence: str, fix: str) -> Finding:
    return case.warning(
        setting=setting,
        value=repr(value),
        is_default=False,
        consequence=f"of type {type(value).__name__}: {consequence}",
        fix=f"{fix}.",
        scenario=None,
    )
