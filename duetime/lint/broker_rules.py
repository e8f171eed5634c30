"""Rules about the broker: the visibility timeout of kombu's Redis transport, and lost connections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

import celery

from duetime.lint.broker import redis_broker
from duetime.lint.case import Case
from duetime.lint.durations import format_duration
from duetime.lint.finding import Finding
from duetime.lint.transport import transport

EXITS_WITHOUT_BROKER = "5.7.0"
"""The version of Celery whose worker may exit when its connection to Redis is lost."""


def timeout_below_horizon(case: Case) -> Iterator[Finding]:
    broker = redis_broker(case.target.app)
    if broker is None or case.horizon < broker.visibility_timeout or not case.horizon:
        return
    timeout, horizon = format_duration(broker.visibility_timeout), format_duration(case.horizon)
    copies = -(-case.horizon // max(broker.visibility_timeout, timedelta(seconds=1)))
    yield case.warning(
        **case.of_timeout(broker),
        consequence="a task with an ETA or a countdown waits unacknowledged in a worker. After each "
        f"{timeout} kombu treats that worker as dead and delivers the message again, until the task is due: for a "
        f"task due in {horizon}, up to {max(copies, 2)} copies, and all of them run." + _no_timeout_fits(case),
        fix=f"above {horizon}, the same in every application on this broker; or keep distant due times in a database "
        "and publish each task when it is due.",
        scenario="long_horizon",
        see=("kombu#337", "celery#2481", "celery#2599"),
    )


def timeout_above_lateness(case: Case) -> Iterator[Finding]:
    broker = redis_broker(case.target.app)
    if broker is None or broker.visibility_timeout + broker.sweep <= case.lateness:
        return
    yield case.warning(
        **case.of_timeout(broker),
        consequence="the messages that a killed worker held unacknowledged (ETA tasks, prefetched tasks, running tasks "
        f"with late acknowledgement) are delivered again {format_duration(broker.visibility_timeout)} after that "
        f"worker received them, and up to {format_duration(broker.sweep)} later, because kombu checks only that often."
        + _no_timeout_fits(case),
        fix=f"at most {format_duration(case.lateness)} together with the time between two checks, which is "
        "unacked_restore_interval (10 s) times unacked_restore_throttle (10). A warm shutdown (SIGTERM, and enough "
        "time) returns all messages at once.",
        scenario="crash",
        see=("celery#4984", "celery#6932"),
    )


def _no_timeout_fits(case: Case) -> str:
    if case.horizon <= case.lateness:
        return ""
    horizon, lateness = format_duration(case.horizon), format_duration(case.lateness)
    return (
        f" No value fits both: due times {horizon} away need more than {horizon}, a crash needs less than {lateness}."
    )


def mixed_timeouts(cases: Sequence[Case]) -> Iterator[Finding]:
    """Compare the visibility timeouts of all applications that share a Redis database."""
    brokers = [(case, broker) for case in cases if (broker := redis_broker(case.target.app))]
    for case, broker in brokers:
        sharing = [(other, shared) for other, shared in brokers if shared.identity == broker.identity]
        lowest, shortest = min(sharing, key=lambda pair: pair[1].visibility_timeout)
        if shortest.visibility_timeout == broker.visibility_timeout:
            continue
        timeout = format_duration(shortest.visibility_timeout)
        yield case.warning(
            **case.of_timeout(broker),
            consequence=f"{lowest.target.name} uses the same Redis database with {timeout}, and its workers restore "
            f"the messages of every application after their own timeout, so {timeout} applies here too.",
            fix="the same value in every application, or a database or a global_keyprefix for each.",
            scenario="long_horizon",
            see=("celery#6236", "celery#9264"),
        )


def no_reconnection(case: Case) -> Iterator[Finding]:
    conf = case.target.app.conf
    if conf.broker_connection_retry is False:
        yield case.warning(
            **case.of("broker_connection_retry"),
            consequence="a worker that loses its connection to the broker shuts down, with the messages that it holds.",
            fix="True, which is Celery's default, or a supervisor that restarts the worker until it stays up.",
            scenario="broker_blip_long",
        )
    if conf.broker_connection_retry_on_startup is False:
        yield case.warning(
            **case.of("broker_connection_retry_on_startup"),
            consequence="a worker that starts while the broker is away shuts down instead of waiting for the broker.",
            fix="True, or a supervisor that restarts the worker until it stays up.",
            scenario="broker_blip_long",
        )


def exits_without_broker(case: Case) -> Iterator[Finding]:
    if celery.__version__ != EXITS_WITHOUT_BROKER or transport(case.target.app).driver != "redis":
        return
    yield case.warning(
        setting="celery.__version__",
        value=celery.__version__,
        is_default=False,
        consequence="a worker that holds an unacknowledged message (one ETA task is enough) may exit with status 1 "
        "when its connection to Redis is lost: it closes the connection a second time, and kombu then tries to restore "
        "messages through state that is already cleared. Celery 5.6.3 reconnects.",
        fix="a supervisor that restarts the worker, or another version of Celery. With either, the messages that it "
        "held are delivered again only after the visibility timeout.",
        scenario="broker_blip_long",
    )
