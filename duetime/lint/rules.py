"""The rules: each a mechanism in Celery or kombu that loses or repeats what was promised, and how to see it set.

Read in the sources of Celery 5.7.0 and kombu 5.7.0; docs/settings.md says where.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import celery
from celery import Task
from celery.app.defaults import DEFAULTS
from celery.worker.state import REVOKE_EXPIRES

from duetime.lint.broker import redis_broker
from duetime.lint.case import Case, Target, own_tasks, registered
from duetime.lint.durations import said
from duetime.lint.finding import Finding

EXITS_WITHOUT_BROKER = "5.7.0"

Rule = Callable[[Case], Iterator[Finding]]


def lint(targets: Sequence[Target], *, horizon: timedelta, lateness: timedelta, servers: int = 2) -> list[Finding]:
    """Everything the rules have to say about `targets`. Nothing is connected to.

    Raises:
        BadUsage: a broker option is no number.
    """
    cases = [
        Case(target=target, tasks=tasks, horizon=horizon, lateness=lateness, servers=servers)
        for target, tasks in own_tasks(targets)
    ]
    alone = [finding for case in cases for rule in _rules(case) for finding in rule(case)]
    return [*alone, *mixed_timeouts(cases)]


def timeout_below_horizon(case: Case) -> Iterator[Finding]:
    broker = redis_broker(case.target.app)
    if broker is None or case.horizon < broker.visibility_timeout or not case.horizon:
        return
    timeout, horizon = said(broker.visibility_timeout), said(case.horizon)
    copies = -(-case.horizon // max(broker.visibility_timeout, timedelta(seconds=1)))
    yield case.warning(
        **case.of_timeout(broker),
        consequence=f"a task with an ETA or a countdown waits unacknowledged in a worker; after {timeout} kombu takes "
        "that worker for dead and hands out the same message again, and so on until it is due: for a due time "
        f"{horizon} away up to {max(copies, 2)} copies, all of which run then." + _no_value_fits(case),
        fix=f"above {horizon}, and the same in every application on this broker; or keep far due times in a database "
        "and publish each when it is due.",
        scenario="long_horizon",
        see=("kombu#337", "celery#2481", "celery#2599"),
    )


def timeout_above_lateness(case: Case) -> Iterator[Finding]:
    broker = redis_broker(case.target.app)
    if broker is None or broker.visibility_timeout + broker.sweep <= case.lateness:
        return
    yield case.warning(
        **case.of_timeout(broker),
        consequence="what a killed worker held unacknowledged (every ETA task it had taken, prefetched tasks, late "
        f"acknowledged ones under way) comes back {said(broker.visibility_timeout)} after that worker took it, and up "
        f"to {said(broker.sweep)} later still, which is how often kombu looks." + _no_value_fits(case),
        fix=f"at most {said(case.lateness)} together with the sweep, which is unacked_restore_interval (10 s) times "
        "unacked_restore_throttle (10); a warm shutdown (SIGTERM, and time to end) gives everything back at once.",
        scenario="crash",
        see=("celery#4984", "celery#6932"),
    )


def _no_value_fits(case: Case) -> str:
    if case.horizon <= case.lateness:
        return ""
    return (
        f" No one value is right: due times {said(case.horizon)} away want it above that, and a crash that may cost "
        f"{said(case.lateness)} wants it below that."
    )


def revokes_purged(case: Case) -> Iterator[Finding]:
    kept = timedelta(seconds=REVOKE_EXPIRES)
    if case.horizon <= kept:
        return
    yield case.warning(
        setting="CELERY_WORKER_REVOKE_EXPIRES (environment)",
        value=f"{REVOKE_EXPIRES:g}",
        is_default=REVOKE_EXPIRES == 10800.0,
        consequence=f"if ETA tasks are called off with revoke(): a worker drops what was revoked over {said(kept)} "
        "ago as soon as another worker joins and says hello, when it saves its state, or past 50,000 revokes; a task "
        f"due later than that (up to {said(case.horizon)} from now) then runs after all.",
        fix="let the task ask a database, when it runs, whether it is still wanted; raising the variable in every "
        "worker's environment only moves the limit.",
        scenario="move_and_cancel",
        see=("celery#4300",),
    )


def revokes_forgotten(case: Case) -> Iterator[Finding]:
    workers = [command for command in case.target.commands if command.works]
    forgetful = [command for command in workers if not command.statedb]
    if not case.horizon or case.target.app.conf.worker_state_db or (workers and not forgetful):
        return
    when = "at any restart of a worker" if any(not c.mingles for c in forgetful) else "when all workers restart"
    where = "and the worker command has no --statedb" if forgetful else "and no worker command with --statedb was shown"
    yield case.warning(
        **case.of("worker_state_db"),
        consequence=f"if ETA tasks are called off with revoke(): revokes live in the workers' memory, {where}, so that "
        f"{when} they are forgotten and the tasks run after all. A revoke while no worker is up reaches nobody.",
        fix="--statedb with a file of its own for each worker, on a disk that outlives it; or let the task ask a "
        "database, when it runs, whether it is still wanted.",
        scenario="move_and_cancel",
        see=("celery#4300", "celery#8737"),
    )


def beat_on_every_server(case: Case) -> Iterator[Finding]:
    app = case.target.app
    beating = [command for command in case.target.commands if command.beat]
    beats = len(beating) * case.servers
    if beats < 2:
        return
    schedulers = {command.scheduler or app.conf.beat_scheduler for command in beating}
    if all("redbeat" in scheduler.lower() for scheduler in schedulers):
        return  # RedBeat holds a lock in Redis
    if schedulers == {DEFAULTS["beat_scheduler"]} and not app.conf.beat_schedule:
        return  # nothing to send
    yield case.warning(
        setting="-B" if beating[0].works else "celery beat",
        value=f"{beats} processes",
        is_default=False,
        consequence=f"beat takes no lock: {beats} beats send every periodic task {beats} times.",
        fix="start one `celery beat` on one host and no -B; or a scheduler that takes a lock (RedBeat).",
        scenario="more_servers",
        see=("celery#2856", "celery#4808"),
    )


def mixed_timeouts(cases: Sequence[Case]) -> Iterator[Finding]:
    """The one rule that needs several applications."""
    brokers = [(case, broker) for case in cases if (broker := redis_broker(case.target.app))]
    for case, broker in brokers:
        sharing = [(other, shared) for other, shared in brokers if shared.place == broker.place]
        lowest, shortest = min(sharing, key=lambda pair: pair[1].visibility_timeout)
        if shortest.visibility_timeout == broker.visibility_timeout:
            continue
        yield case.warning(
            **case.of_timeout(broker),
            consequence=f"{lowest.target.name} reads the same Redis database with {said(shortest.visibility_timeout)}, "
            "and the sweep of any worker there takes back every application's messages by its own timeout: what counts "
            f"here is {said(shortest.visibility_timeout)}.",
            fix="one value in every application, or a database or a global_keyprefix for each.",
            scenario="long_horizon",
            see=("celery#6236", "celery#9264"),
        )


def eta_limit(case: Case) -> Iterator[Finding]:
    conf = case.target.app.conf
    if not case.horizon:
        return
    # A prefetch count of 0 means "no limit", and is never raised or capped.
    if conf.worker_eta_task_limit is None or conf.worker_prefetch_multiplier == 0:
        yield case.info(
            **case.of("worker_eta_task_limit"),
            consequence="if tasks have an ETA or a countdown: a worker takes each of them at once and keeps it in "
            "memory until it is due, without a limit.",
            fix="watch the memory of the worker; a limit is no mend, because far tasks then hold back what is due. "
            "Keep far due times in a database and publish each when it is due.",
            scenario="far_flood",
            see=("celery#2218", "celery#9849"),
        )
        return
    yield case.warning(
        **case.of("worker_eta_task_limit"),
        consequence=f"if tasks have an ETA or a countdown: it caps what a worker takes at all, so that once "
        f"{conf.worker_eta_task_limit} far tasks wait in it, one that is due now stays in the queue until a far one "
        "has run.",
        fix="ETA tasks on a queue with workers of their own, or far due times in a database.",
        scenario="far_flood",
        see=("celery#9853",),
    )


def early_acknowledgement(case: Case) -> Iterator[Finding]:
    early = [task for task in case.tasks if not task.acks_late]
    if early:
        yield case.warning(
            **_attribute(case, "task_acks_late", value=False),
            consequence=f"{_named(early)}: acknowledged when the pool starts it, so that a worker killed in the middle "
            "of it has lost it without a trace.",
            fix="if a repeat does no harm, task_acks_late=True with task_reject_on_worker_lost=True; if it does, "
            "record what was promised and what was done, and look for the difference.",
            scenario="crash",
            see=("celery#1628",),
        )


def late_but_not_rejected(case: Case) -> Iterator[Finding]:
    lost = [
        task
        for task in case.tasks
        # task_retry_on_worker_lost came with Celery 5.7.
        if task.acks_late and not task.reject_on_worker_lost and not getattr(task, "retry_on_worker_lost", False)
    ]
    if lost:
        yield case.warning(
            **_attribute(case, "task_reject_on_worker_lost", value=lost[0].reject_on_worker_lost),
            consequence=f"{_named(lost)}: late acknowledgement saves it when the whole worker dies, but if only the "
            "pool's child is killed (out of memory, for one) the worker acknowledges it as failed.",
            fix="task_reject_on_worker_lost=True, knowing that a task which kills its process comes back for ever; "
            "from Celery 5.7 task_retry_on_worker_lost=True counts those repeats against max_retries.",
            scenario="crash",
            see=("celery#1628", "celery#3053"),
        )


def late_acknowledgement(case: Case) -> Iterator[Finding]:
    late = [task for task in case.tasks if task.acks_late]
    if late:
        yield case.info(
            **_attribute(case, "task_acks_late", value=True),
            consequence=f"{_named(late)}: runs again after a crash, from the start, even if all but the "
            "acknowledgement was done.",
            fix="nothing, if running it twice is the same as once; otherwise give whoever receives it a key by which "
            "to know the repeat.",
            scenario="crash",
            see=("celery#6932",),
        )


def never_retried(case: Case) -> Iterator[Finding]:
    once = [task for task in case.tasks if not getattr(task, "autoretry_for", ()) and not _calls_retry(task)]
    if once:
        yield case.warning(
            setting="autoretry_for",
            value="()",
            is_default=True,
            consequence=f"{_named(once)}: no autoretry_for, and its own body does not call retry(); unless something "
            "it calls does, a gateway that refuses once has lost it, and max_retries changes nothing.",
            fix="autoretry_for=(the gateway's passing errors,), retry_backoff=True, and a max_retries that outlasts "
            "the gateway's usual outage.",
            scenario="poison",
        )


def ticks_without_expiry(case: Case) -> Iterator[Finding]:
    app = case.target.app
    piling = [
        name
        for name, entry in sorted((app.conf.beat_schedule or {}).items())
        if not _entry(entry, "options").get("expires")
        and not getattr(app.tasks.get(_entry(entry, "task")), "expires", None)
    ]
    if piling:
        yield case.warning(
            setting="beat_schedule[…]['options']['expires']",
            value="missing",
            is_default=True,
            consequence=f"{_listed(piling)}: while workers are down and beat is up its ticks pile up in the queue, and "
            "all of them run at once afterwards.",
            fix="'options': {'expires': seconds} of about one interval, in each entry.",
            scenario="broker_blip_long",
            see=("celery#591",),
        )


def no_reconnection(case: Case) -> Iterator[Finding]:
    conf = case.target.app.conf
    if conf.broker_connection_retry is False:
        yield case.warning(
            **case.of("broker_connection_retry"),
            consequence="a worker whose broker connection breaks shuts down, with whatever it holds.",
            fix="True, as Celery has it, or a supervisor that starts the worker again for as long as it takes.",
            scenario="broker_blip_long",
        )
    if conf.broker_connection_retry_on_startup is False:
        yield case.warning(
            **case.of("broker_connection_retry_on_startup"),
            consequence="a worker that starts while the broker is away shuts down instead of waiting for it.",
            fix="True, or a supervisor that starts the worker again for as long as it takes.",
            scenario="broker_blip_long",
        )


def exits_without_broker(case: Case) -> Iterator[Finding]:
    if celery.__version__ != EXITS_WITHOUT_BROKER or redis_broker(case.target.app) is None:
        return
    yield case.warning(
        setting="celery.__version__",
        value=celery.__version__,
        is_default=False,
        consequence="a worker that holds any unacknowledged message (one ETA task is enough) exits with status 1 when "
        "its connection to Redis goes away: it closes the connection a second time, and kombu then tries to give "
        "messages back through what is already cleared. 5.6.3 reconnects.",
        fix="a supervisor that starts the worker again, or another version of Celery; either way what it held comes "
        "back only after the visibility timeout.",
        scenario="broker_blip_long",
    )


def no_tasks(case: Case) -> Iterator[Finding]:
    yield case.info(
        setting="tasks",
        value="none",
        is_default=False,
        consequence="no task of its own is registered once everything is imported that a worker imports: its workers "
        "hold no messages, and the rules about those say nothing.",
        fix="nothing, if that is so; otherwise name the tasks' modules in the setting `include`, or as targets.",
        scenario=None,
    )


ABOUT_BEAT: Sequence[Rule] = (beat_on_every_server, ticks_without_expiry)
ABOUT_TASKS: Sequence[Rule] = (
    timeout_below_horizon,
    timeout_above_lateness,
    revokes_purged,
    revokes_forgotten,
    eta_limit,
    early_acknowledgement,
    late_but_not_rejected,
    late_acknowledgement,
    never_retried,
    no_reconnection,
    exits_without_broker,
)


def _rules(case: Case) -> Sequence[Rule]:
    return [*(ABOUT_TASKS if registered(case.target) else [no_tasks]), *ABOUT_BEAT]


def _attribute(case: Case, setting: str, *, value: object) -> dict[str, Any]:
    """How a finding names a setting that a task, or an annotation, may have overruled."""
    is_default = value == DEFAULTS[setting] and case.target.app.conf[setting] == value
    return {"setting": setting, "value": repr(value), "is_default": is_default}


def _entry(entry: Any, name: str) -> Any:
    """A part of a beat entry, which is a dict or a celery.beat.ScheduleEntry."""
    value = entry.get(name) if isinstance(entry, Mapping) else getattr(entry, name, None)
    return value or ({} if name == "options" else "")


def _calls_retry(task: Task[..., Any]) -> bool:
    code = getattr(inspect.unwrap(getattr(task, "__wrapped__", task.run)), "__code__", None)
    return code is not None and "retry" in code.co_names


def _named(tasks: Sequence[Task[..., Any]]) -> str:
    return _listed([str(task.name) for task in tasks])


def _listed(names: Sequence[str], most: int = 3) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
