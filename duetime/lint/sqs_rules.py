"""Rules about Amazon SQS: limits of the service, and what kombu's transport does with its options.

The limits are those of AWS: a visibility timeout of 12 hours, 4 days of retention unless the queue says otherwise, at
most 14, and a delay of 15 minutes. The rest was read in kombu's `transport/SQS`.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from duetime.lint.case import VISIBILITY_TIMEOUT, Case
from duetime.lint.durations import format_duration
from duetime.lint.finding import Finding
from duetime.lint.text import listed
from duetime.lint.transport import transport

KOMBU_DEFAULT = timedelta(minutes=30)
LONGEST_TIMEOUT = timedelta(hours=12)
USUAL_RETENTION, LONGEST_RETENTION = timedelta(days=4), timedelta(days=14)
LONGEST_POLL_S = 20
NAMES = str.maketrans({sign: "_" for sign in string.punctuation if sign not in "-_."} | {".": "-"})
"""How kombu writes the name of a queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SqsBroker:
    """The options of SQS. `visibility_timeout` and `retention` are None if only the queue itself knows them."""

    options: Mapping[str, Any]
    visibility_timeout: timedelta | None
    retention: timedelta | None
    predefined: Mapping[str, Any]


def sqs_broker(case: Case) -> SqsBroker | None:
    """Return the options of SQS; None if the transport is another."""
    found = transport(case.target.app)
    if found.driver != "sqs":
        return None
    predefined = found.options.get("predefined_queues") or {}
    attributes = found.options.get("sqs-creation-attributes") or {}
    timeout = found.options.get("visibility_timeout")
    timeout = KOMBU_DEFAULT.total_seconds() if timeout in (None, "") else timeout
    return SqsBroker(
        options=found.options,
        visibility_timeout=None if predefined else _seconds(attributes.get("VisibilityTimeout", timeout)),
        retention=None
        if predefined
        else _seconds(attributes.get("MessageRetentionPeriod", USUAL_RETENTION.total_seconds())),
        predefined=predefined,
    )


def _seconds(value: object) -> timedelta | None:
    try:
        return timedelta(seconds=int(float(value)))  # type: ignore[arg-type]  # other types raise, handled below
    except (TypeError, ValueError, OverflowError):
        return None


def timeout_refused(case: Case) -> Iterator[Finding]:
    broker = sqs_broker(case)
    if broker and broker.visibility_timeout and broker.visibility_timeout > LONGEST_TIMEOUT:
        yield case.warning(
            setting=VISIBILITY_TIMEOUT,
            value=format_duration(broker.visibility_timeout),
            is_default=False,
            consequence="SQS allows 12h at most, and refuses to create the queue.",
            fix="at most 43200.",
            scenario=None,
        )


def eta_beyond_timeout(case: Case) -> Iterator[Finding]:
    broker = sqs_broker(case)
    if broker is None or not case.horizon:
        return
    timeout = min(broker.visibility_timeout or LONGEST_TIMEOUT, LONGEST_TIMEOUT)
    if case.horizon < timeout:
        return
    horizon = format_duration(case.horizon)
    yield case.warning(
        setting=VISIBILITY_TIMEOUT if broker.visibility_timeout is not None else "VisibilityTimeout (of the queue)",
        value=format_duration(timeout) if broker.visibility_timeout is not None else "unknown, at most 12h",
        is_default=broker.visibility_timeout == KOMBU_DEFAULT,
        consequence="a task with an ETA or a countdown waits unacknowledged in a worker. After "
        f"{format_duration(timeout)} SQS delivers the message again, until the task is due, and every copy runs. "
        "Celery does not use the delay of SQS, which is 15m at most.",
        fix=f"above {horizon}; or distant due times in a database, published when they are due."
        if case.horizon < LONGEST_TIMEOUT
        else f"none for due times {horizon} away, because SQS allows 12h at most: keep distant due times in a "
        "database and publish each task when it is due.",
        scenario=None,
        see=("kombu#337", "celery#2481"),
    )


def eta_beyond_retention(case: Case) -> Iterator[Finding]:
    broker = sqs_broker(case)
    if broker is None:
        return
    retention = min(broker.retention or LONGEST_RETENTION, LONGEST_RETENTION)
    if case.horizon < retention:
        return
    yield case.warning(
        setting="MessageRetentionPeriod (of the queue)",
        value=format_duration(retention) if broker.retention is not None else "unknown, at most 14d",
        is_default=False,
        consequence=f"SQS deletes a message {format_duration(retention)} after it was sent, also while a worker holds "
        f"it. A task that is due later (up to {format_duration(case.horizon)}) is lost if its worker restarts.",
        fix="'sqs-creation-attributes': {'MessageRetentionPeriod': '1209600'} (14d, the maximum) for queues that kombu "
        "creates; distant due times in a database.",
        scenario=None,
    )


def timeout_above_lateness(case: Case) -> Iterator[Finding]:
    broker = sqs_broker(case)
    if broker and broker.visibility_timeout and broker.visibility_timeout > case.lateness:
        timeout = format_duration(broker.visibility_timeout)
        yield case.warning(
            setting=VISIBILITY_TIMEOUT,
            value=timeout,
            is_default=broker.visibility_timeout == KOMBU_DEFAULT,
            consequence="the messages that a killed worker held unacknowledged are delivered again only "
            f"{timeout} after that worker received them.",
            fix=f"at most {format_duration(case.lateness)}, but above the horizon and the longest task.",
            scenario=None,
        )


def polls_too_rarely(case: Case) -> Iterator[Finding]:
    broker = sqs_broker(case)
    if broker is None:
        return
    interval = _seconds(broker.options.get("polling_interval", 1))
    if interval and interval > case.lateness:
        yield case.warning(
            setting="broker_transport_options['polling_interval']",
            value=format_duration(interval),
            is_default=False,
            consequence=f"after an empty answer a worker waits {format_duration(interval)} before it asks again, so a "
            "task that is sent in that time is that late.",
            fix="0 or 1, with wait_time_seconds of up to 20: SQS answers as soon as there is a message.",
            scenario=None,
        )
    wait = _seconds(broker.options.get("wait_time_seconds", 10))
    if wait and wait.total_seconds() > LONGEST_POLL_S:
        yield case.warning(
            setting="broker_transport_options['wait_time_seconds']",
            value=f"{wait.total_seconds():g}",
            is_default=False,
            consequence="SQS allows 20 at most, and refuses each request for messages.",
            fix="0 to 20.",
            scenario=None,
        )


def queue_not_predefined(case: Case) -> Iterator[Finding]:
    broker = sqs_broker(case)
    if broker is None or not broker.predefined:
        return
    app = case.target.app
    prefix = str(broker.options.get("queue_name_prefix", ""))
    names = app.amqp.Queues(app.conf.task_queues)
    missing = [name for name in names if _sqs_name(prefix + name) not in broker.predefined]
    if missing:
        yield case.warning(
            setting="broker_transport_options['predefined_queues']",
            value=listed(sorted(broker.predefined)),
            is_default=False,
            consequence=f"queue {listed(missing)}: not in it, so each apply_async() to this queue, and a worker that "
            "reads it, ends in an UndefinedQueueException.",
            fix="an entry for each queue, or task_default_queue and task_queues with these names.",
            scenario=None,
        )


def _sqs_name(name: str) -> str:
    return (name[: -len(".fifo")].translate(NAMES) + ".fifo") if name.endswith(".fifo") else name.translate(NAMES)
