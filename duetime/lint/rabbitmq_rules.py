"""Rules about RabbitMQ: the acknowledgement timeout, quorum queues, and Celery's native delayed delivery.

What a worker does was observed with Celery 5.7.0 and RabbitMQ 3.10; for RabbitMQ 4, by making the worker do there what
kombu does for that version.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import celery
from kombu.transport import pyamqp
from kombu.transport.native_delayed_delivery import MAX_NUMBER_OF_BITS_TO_USE

from duetime.lint.case import Case
from duetime.lint.durations import format_duration
from duetime.lint.finding import Finding
from duetime.lint.text import listed
from duetime.lint.transport import transport

LONGEST_DELAY = timedelta(seconds=2**MAX_NUMBER_OF_BITS_TO_USE - 1)
QUEUE_TYPES = ("classic", "quorum")
REFUSES_SHORT_DELAYS = (5, 7, 0)
"""The last version of Celery known to refuse a natively delayed task that is due in less than a second."""


def _is_prefetch_fixed_on_rabbitmq_4() -> bool:
    server: Any = SimpleNamespace(server_properties={"product": "RabbitMQ", "version": "4.0.0"})
    kombu: Any = pyamqp.Transport
    return bool(kombu.qos_semantics_matches_spec(None, server))


FIXED_ON_RABBITMQ_4 = _is_prefetch_fixed_on_rabbitmq_4()
"""True from kombu 5.7: on RabbitMQ 4 the prefetch count applies to a consumer, and cannot change while it runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RabbitQueue:
    """A queue as the application declares it.

    delays: True if Celery delays its tasks inside RabbitMQ; False if they wait in a worker.
    timeout: RabbitMQ's acknowledgement timeout for it; zero if it has none.
    """

    name: str
    quorum: bool
    delays: bool
    timeout: timedelta


def rabbit_queues(case: Case) -> Sequence[RabbitQueue]:
    """Return the queues of the settings and of -Q; none if the transport is not RabbitMQ."""
    app = case.target.app
    if transport(app).driver != "amqp":
        return []
    declared = app.amqp.Queues(app.conf.task_queues)
    for command in case.target.commands:
        for name in filter(None, str(command.options.get("queues") or "").split(",")):
            try:
                declared[name.strip()]  # adds it, as a worker does
            except (KeyError, ValueError):
                continue
    arguments = {name: queue.queue_arguments or {} for name, queue in declared.items()}
    any_quorum = any(found.get("x-queue-type") == "quorum" for found in arguments.values())
    return [
        RabbitQueue(
            name=name,
            quorum=arguments[name].get("x-queue-type") == "quorum",
            delays=any_quorum and queue.exchange is not None and queue.exchange.type != "direct",
            timeout=_timeout(arguments[name].get("x-consumer-timeout"), case.consumer_timeout),
        )
        for name, queue in declared.items()
    ]


def _timeout(argument: object, default: timedelta) -> timedelta:
    is_number = isinstance(argument, int) and not isinstance(argument, bool)
    return timedelta(milliseconds=argument) if is_number else default  # type: ignore[arg-type]  # checked


def eta_above_consumer_timeout(case: Case) -> Iterator[Finding]:
    short = [q for q in rabbit_queues(case) if not q.delays and q.timeout and q.timeout <= case.horizon]
    if not short:
        return
    timeout = format_duration(min(queue.timeout for queue in short))
    after = (
        "the worker connects again"
        if case.target.app.conf.broker_channel_error_retry
        else "the worker exits with status 1"
    )
    yield case.warning(
        setting="consumer_timeout (RabbitMQ)",
        value=timeout,
        is_default=False,
        consequence=f"queue {listed([q.name for q in short])}: a task with an ETA or a countdown waits unacknowledged "
        f"in a worker. After {timeout} RabbitMQ closes the worker's channel (406 PRECONDITION_FAILED), {after}, and "
        "all messages that it held are delivered again: the tasks that ran with late acknowledgement run twice. This "
        "repeats until the task is due.",
        fix="quorum queues on a topic exchange, so that the task waits in RabbitMQ; or distant due times in a "
        "database; or the queue argument x-consumer-timeout above the horizon. If rabbitmq.conf sets another value, "
        "pass it as --consumer-timeout (0s: none; RabbitMQ 4.3 and later has none for classic queues).",
        scenario=None,
        see=("celery#6760", "rabbitmq-server#5437"),
    )


def static_prefetch(case: Case) -> Iterator[Finding]:
    conf = case.target.app.conf
    waiting = [queue for queue in rabbit_queues(case) if not queue.delays]
    if not case.horizon or conf.worker_prefetch_multiplier == 0:
        return
    if quorum := [queue.name for queue in waiting if queue.quorum and conf.worker_detect_quorum_queues]:
        names, setting = quorum, "task_default_exchange_type"
        when = "it is a quorum queue on a direct exchange, so its tasks are not delayed inside RabbitMQ, and"
    elif waiting and FIXED_ON_RABBITMQ_4:
        names, setting = [queue.name for queue in waiting], "task_default_queue_type"
        when = "its tasks are not delayed inside RabbitMQ, and if the server is RabbitMQ 4.0 or later"
    else:
        return
    yield case.warning(
        **case.of(setting),
        consequence=f"queue {listed(names)}: {when} the prefetch count cannot grow. A worker that holds "
        f"{conf.worker_prefetch_multiplier} × concurrency distant tasks receives nothing more, and a task that is due "
        "waits until one of them has run.",
        fix="task_default_queue_type='quorum' with task_default_exchange_type='topic' (the same in task_queues): then "
        "RabbitMQ delays the tasks; existing queues and exchanges must be deleted first. Or distant due times in a "
        "database.",
        scenario=None,
        see=("celery#9512", "kombu#2665"),
    )


def undetected_quorum_queues(case: Case) -> Iterator[Finding]:
    quorum = [queue.name for queue in rabbit_queues(case) if queue.quorum]
    if quorum and not case.target.app.conf.worker_detect_quorum_queues:
        yield case.warning(
            **case.of("worker_detect_quorum_queues"),
            consequence=f"queue {listed(quorum)}: the worker asks for a global prefetch count, which RabbitMQ refuses "
            "for quorum queues (540 NOT_IMPLEMENTED). The worker reconnects without end and receives no task.",
            fix="True, which is Celery's default.",
            scenario=None,
        )


def native_delay(case: Case) -> Iterator[Finding]:
    delaying = [queue.name for queue in rabbit_queues(case) if queue.delays]
    if not delaying or not case.horizon:
        return
    version = tuple(int(part) for part in celery.__version__.split(".")[:3] if part.isdigit())
    if version <= REFUSES_SHORT_DELAYS:
        yield case.warning(
            setting="celery.__version__",
            value=celery.__version__,
            is_default=False,
            consequence=f"queue {listed(delaying)}: apply_async() raises ValueError (countdown must be a positive "
            "number) for a task that is due in less than one second, because the delay in RabbitMQ is a whole number "
            "of seconds.",
            fix="send a task that is due in less than a second without an ETA or a countdown.",
            scenario=None,
        )
    if case.horizon > LONGEST_DELAY:
        yield case.warning(
            setting="--horizon",
            value=format_duration(case.horizon),
            is_default=False,
            consequence=f"queue {listed(delaying)}: Celery writes the delay into the routing key, in 28 bits. A delay "
            f"above {LONGEST_DELAY.days} days needs 29, and arrives at another time.",
            fix="distant due times in a database.",
            scenario=None,
        )


def delay_queue_type(case: Case) -> Iterator[Finding]:
    quorum = any(queue.quorum for queue in rabbit_queues(case))
    kind = case.target.app.conf.broker_native_delayed_delivery_queue_type
    if not quorum or kind == "quorum":
        return
    consequence = (
        "a delayed task passes through up to 28 queues. From a classic queue RabbitMQ moves it without confirmation, "
        "so the task is lost if a node ends in that moment; classic queues have no replica either."
        if kind == "classic"
        else "a worker exits with status 1 when it starts: the type must be classic or quorum."
    )
    yield case.warning(
        **case.of("broker_native_delayed_delivery_queue_type"),
        consequence=consequence,
        fix="'quorum', which is Celery's default; existing delay queues must be deleted first.",
        scenario=None,
    )


def default_queue_type(case: Case) -> Iterator[Finding]:
    queues = rabbit_queues(case)
    kind = case.target.app.conf.task_default_queue_type
    if not queues or kind == "classic" or any(queue.quorum for queue in queues):
        return
    consequence = (
        f"no effect, because task_queues declares {listed([queue.name for queue in queues])} without x-queue-type: "
        "these are classic queues, without a replica and without native delayed delivery."
        if kind == "quorum"
        else "Celery knows only 'classic' and 'quorum', and declares a classic queue without a word."
    )
    yield case.warning(
        **case.of("task_default_queue_type"),
        consequence=consequence,
        fix="queue_arguments={'x-queue-type': 'quorum'} for each queue of task_queues."
        if kind == "quorum"
        else "'quorum' or 'classic'.",
        scenario=None,
    )
