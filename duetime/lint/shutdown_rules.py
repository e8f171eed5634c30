"""Rules about the soft shutdown of Celery 5.5 and later, observed with Celery 5.7.0."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta

from duetime.lint.case import Case
from duetime.lint.commands import REMAP, WorkerCommand
from duetime.lint.durations import format_duration
from duetime.lint.finding import Finding
from duetime.lint.transport import transport

REMAPPED = f"{REMAP}=SIGQUIT"
PROCESS_ENDS = timedelta(seconds=1)
"""A pool process sleeps for so long when it ends (billiard/pool.py, ``_do_exit``)."""
POOL_FLUSH = timedelta(seconds=0.5)
"""And for each process the pool waits so long for results (celery/concurrency/asynpool.py, ``_flush_outqueue``)."""


def soft_shutdown_outlasts_grace(case: Case) -> Iterator[Finding]:
    timeout, rest = soft_shutdown(case), _rest_of_shutdown(case)
    if not timeout or case.grace is None or timeout + rest < case.grace:
        return
    on_idle = case.target.app.conf.worker_enable_soft_shutdown_on_idle
    yield case.warning(
        **case.of("worker_soft_shutdown_timeout"),
        consequence=f"a cold shutdown waits {format_duration(timeout)} "
        + ("always, even if no task runs" if on_idle else "whenever a task runs")
        + f", and then up to {rest.total_seconds():g}s for its pool, but the worker is killed after "
        f"{format_duration(case.grace)}. It then returns none of its messages: they are delivered again only when the "
        "broker notices, and tasks with early acknowledgement are lost.",
        fix=f"{_shorter(case, rest)}, or a longer grace (stop_grace_period, terminationGracePeriodSeconds, "
        "TimeoutStopSec).",
        scenario="deploy_too_slow",
    )


def no_soft_shutdown(case: Case) -> Iterator[Finding]:
    """Only for Redis: RabbitMQ gives what a worker held to another as soon as its connection is gone."""
    off = soft_shutdown(case) is None and case.target.app.conf.worker_soft_shutdown_timeout == 0
    if not off or not case.grace or not case.horizon or transport(case.target.app).driver != "redis":
        return
    rest = _rest_of_shutdown(case)
    yield case.warning(
        **case.of("worker_soft_shutdown_timeout"),
        consequence="on SIGTERM a worker waits for its running tasks, and returns the ETA tasks in its memory only "
        f"afterwards. If a task runs for more than {format_duration(case.grace)}, SIGKILL comes first: they come back "
        "after the visibility timeout.",
        fix=f"{_shorter(case, rest)}, with worker_enable_soft_shutdown_on_idle = "
        f"True and {REMAPPED} in the environment of the worker (Celery 5.5 and later).",
        scenario="deploy_too_slow",
    )


def _shorter(case: Case, rest: timedelta) -> str:
    left_s = ((case.grace or timedelta()) - rest).total_seconds()
    return f"less than {left_s:g}s" if left_s > 0 else "fewer processes, because the end of the pool takes the grace"


def _rest_of_shutdown(case: Case) -> timedelta:
    """How long a worker's pool takes to end after a soft shutdown, with the most processes that are known."""
    workers = [command.options.get("concurrency") for command in case.target.commands if command.works]
    known = [int(number) for number in [*workers, case.target.app.conf.worker_concurrency] if str(number).isdecimal()]
    return PROCESS_ENDS + max(known, default=1) * POOL_FLUSH


def soft_shutdown_without_effect(case: Case) -> Iterator[Finding]:
    conf = case.target.app.conf
    if conf.worker_enable_soft_shutdown_on_idle and conf.worker_soft_shutdown_timeout == 0:
        yield case.info(
            **case.of("worker_enable_soft_shutdown_on_idle"),
            consequence="no effect, because worker_soft_shutdown_timeout is 0.",
            fix="a worker_soft_shutdown_timeout below the time that the worker has between SIGTERM and SIGKILL.",
            scenario=None,
        )
    workers = [command for command in case.target.commands if command.works]
    if soft_shutdown(case) and os.environ.get(REMAP) != "SIGQUIT" and not (workers and all(map(_remaps, workers))):
        yield case.info(
            **case.of("worker_soft_shutdown_timeout"),
            consequence="only a cold shutdown (SIGQUIT) waits that long. SIGTERM, which supervisors send, begins a "
            "warm shutdown, which waits for the running tasks without limit.",
            fix=f"{REMAPPED} in the environment of the worker, or SIGQUIT as the supervisor's signal.",
            scenario="deploy_too_slow",
        )


def soft_shutdown(case: Case) -> timedelta | None:
    """Return the length of the soft shutdown; None if there is none."""
    value = case.target.app.conf.worker_soft_shutdown_timeout
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return timedelta(seconds=value) if is_number and value > 0 else None


def _remaps(command: WorkerCommand) -> bool:
    return command.environment.get(REMAP) == "SIGQUIT"
