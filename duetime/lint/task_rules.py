"""Rules about tasks: ETA, revokes, acknowledgement and retries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from celery import Task
from celery.app.defaults import DEFAULTS
from celery.worker.state import REVOKE_EXPIRES

from duetime.lint.case import Case, calls_retry
from duetime.lint.durations import format_duration
from duetime.lint.finding import Finding
from duetime.lint.rabbitmq_rules import FIXED_ON_RABBITMQ_4, rabbit_queues
from duetime.lint.text import listed
from duetime.lint.transport import transport


def eta_limit(case: Case) -> Iterator[Finding]:
    conf = case.target.app.conf
    queues = rabbit_queues(case)
    if not case.horizon or (queues and FIXED_ON_RABBITMQ_4) or any(queue.quorum for queue in queues):
        return  # the prefetch count is fixed, and rabbitmq_rules judges it
    # A prefetch count of 0 means "no limit", and Celery neither raises nor caps it.
    if conf.worker_eta_task_limit is None or conf.worker_prefetch_multiplier == 0:
        yield case.info(
            **case.of("worker_eta_task_limit"),
            consequence="if tasks have an ETA or a countdown: a worker receives each of them at once and holds it in "
            "memory until it is due, without a limit.",
            fix="monitor the memory of the workers. A limit is not a fix, because distant tasks then block tasks that "
            "are due. Keep distant due times in a database and publish each task when it is due.",
            scenario="far_flood",
            see=("celery#2218", "celery#9849"),
        )
        return
    yield case.warning(
        **case.of("worker_eta_task_limit"),
        consequence="if tasks have an ETA or a countdown: the limit applies to all tasks that a worker receives. While "
        f"it holds {conf.worker_eta_task_limit} distant tasks, a task that is due stays in the queue until one of them "
        "has run.",
        fix="a separate queue and separate workers for ETA tasks, or distant due times in a database.",
        scenario="far_flood",
        see=("celery#9853",),
    )


def revokes_purged(case: Case) -> Iterator[Finding]:
    kept = timedelta(seconds=REVOKE_EXPIRES)
    if case.horizon <= kept:
        return
    yield case.warning(
        setting="CELERY_WORKER_REVOKE_EXPIRES (environment)",
        value=f"{REVOKE_EXPIRES:g}",
        is_default=REVOKE_EXPIRES == 10800.0,
        consequence=f"if ETA tasks are cancelled with revoke(): a worker drops revokes older than "
        f"{format_duration(kept)} when another worker joins and sends hello, when it saves its state, or above 50,000 "
        f"revokes. A task due later than that (up to {format_duration(case.horizon)} from now) then runs.",
        fix="let the task check in a database, when it runs, whether it is still wanted. A higher value, in the "
        "environment of every worker, only moves the limit.",
        scenario="move_and_cancel",
        see=("celery#4300",),
    )


def revokes_unheard(case: Case) -> Iterator[Finding]:
    app = case.target.app
    is_sqs = transport(app).driver == "sqs"
    if case.horizon and (is_sqs or not app.conf.worker_enable_remote_control):
        reason = "kombu declares that SQS has no fanout exchange, so" if is_sqs else "without remote control"
        yield case.warning(
            **case.of("worker_enable_remote_control"),
            consequence=f"if ETA tasks are cancelled with revoke(): {reason} no worker hears of it. The tasks run.",
            fix="let the task check in a database, when it runs, whether it is still wanted.",
            scenario="move_and_cancel",
        )


def revokes_forgotten(case: Case) -> Iterator[Finding]:
    workers = [command for command in case.target.commands if command.works]
    without_state = [command for command in workers if not command.statedb]
    if not case.horizon or case.target.app.conf.worker_state_db or (workers and not without_state):
        return
    when = "when any worker restarts" if any(not c.mingles for c in without_state) else "when all workers restart"
    where = "the worker command has no --statedb" if without_state else "no worker command with --statedb was given"
    yield case.warning(
        **case.of("worker_state_db"),
        consequence=f"if ETA tasks are cancelled with revoke(): revokes are kept in the memory of the workers, and "
        f"{where}, so {when} the revokes are lost and the tasks run. A revoke while no worker is up has no effect.",
        fix="--statedb with a separate file for each worker, on a disk that outlives it; or let the task check in a "
        "database, when it runs, whether it is still wanted.",
        scenario="move_and_cancel",
        see=("celery#4300", "celery#8737"),
    )


def early_acknowledgement(case: Case) -> Iterator[Finding]:
    early = [task for task in case.tasks if not task.acks_late]
    if early:
        yield case.warning(
            **_task_attribute(case, "task_acks_late", value=False),
            consequence=f"{_names(early)}: acknowledged when the pool starts it, so a task is lost without a trace if "
            "its worker is killed while it runs.",
            fix="task_acks_late=True with task_reject_on_worker_lost=True, if a duplicate does no harm; otherwise "
            "record what was scheduled and what was done, and compare them.",
            scenario="crash",
            see=("celery#1628",),
        )


def late_but_not_rejected(case: Case) -> Iterator[Finding]:
    lost = [
        task
        for task in case.tasks
        # task_retry_on_worker_lost is new in Celery 5.7.
        if task.acks_late and not task.reject_on_worker_lost and not getattr(task, "retry_on_worker_lost", False)
    ]
    if lost:
        yield case.warning(
            **_task_attribute(case, "task_reject_on_worker_lost", value=lost[0].reject_on_worker_lost),
            consequence=f"{_names(lost)}: late acknowledgement keeps the task when the whole worker is killed; if only "
            "a process of its pool is killed (for instance out of memory), the worker acknowledges the task as failed.",
            fix="task_reject_on_worker_lost=True; a task that kills its process is then delivered again without end. "
            "From Celery 5.7, task_retry_on_worker_lost=True counts these attempts against max_retries.",
            scenario="crash",
            see=("celery#1628", "celery#3053"),
        )


def late_acknowledgement(case: Case) -> Iterator[Finding]:
    late = [task for task in case.tasks if task.acks_late]
    if late:
        yield case.info(
            **_task_attribute(case, "task_acks_late", value=True),
            consequence=f"{_names(late)}: after a crash the task runs again from the start, even if only its "
            "acknowledgement was missing.",
            fix="nothing, if the task is idempotent; otherwise send a key by which the recipient detects a duplicate.",
            scenario="crash",
            see=("celery#6932",),
        )


def never_retried(case: Case) -> Iterator[Finding]:
    without = [task for task in case.tasks if not getattr(task, "autoretry_for", ()) and not calls_retry(task)]
    if without:
        yield case.warning(
            setting="autoretry_for",
            value="()",
            is_default=True,
            consequence=f"{_names(without)}: no autoretry_for, and its body does not call retry(). Unless a function "
            "that it calls does, one refusal of the gateway loses the task, and max_retries has no effect.",
            fix="autoretry_for=(the gateway's temporary errors,), retry_backoff=True, and a max_retries that outlasts "
            "the gateway's usual outage.",
            scenario="poison",
        )


def _task_attribute(case: Case, setting: str, *, value: object) -> dict[str, Any]:
    """Return the fields of a finding about a setting that a task or an annotation may override."""
    is_default = value == DEFAULTS[setting] and case.target.app.conf[setting] == value
    return {"setting": setting, "value": repr(value), "is_default": is_default}


def _names(tasks: Sequence[Task[..., Any]]) -> str:
    return listed([str(task.name) for task in tasks])
