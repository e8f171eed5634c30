"""Why a design fails in a scenario: the cause, the setting behind it, the fix, and what its maintainers know of it.

The mechanisms are those of docs/findings.md, which describes how each was found.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from duetime.pages import DOCS

POLLERS: Final = ("pull_worker", "pull_worker:*")
PLAIN_QUEUE: Final = ("oban_style_queue", "celery:*")
"""The generic queue, also with the settings of somebody's own application."""
LOSE_COMMITS: Final = ("failover_async", "old_primary_returns", "unflushed", "restore")
SHRUNK: Final = "-shrunk"
"""At the end of the name of a scenario's plan from which `duetime shrink` has taken away what is not needed."""
ROW_AND_ETA: Final = ("oban_style_queue:hardened", "oban_style_queue:soft_shutdown")
"""A task with an ETA in a worker's memory, and a row that says whether it is wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mechanism:
    """One mechanism.

    designs, scenarios, labels: patterns of what it explains; a label is a violation, or a place of what was missed.
    setting: the one that decides it, with its default; empty where none does. fix: what to change, in your own code;
    empty where the checker's general advice is all there is. upstream: where its maintainers write about it; empty if
    they do not. better: a design without it. page: by default `section`, an anchor in docs/findings.md.
    """

    designs: Sequence[str]
    labels: Sequence[str]
    cause: str
    section: str = ""
    scenarios: Sequence[str] = ("*",)
    setting: str = ""
    fix: str = ""
    upstream: str = ""
    better: str = ""
    page: str = ""

    def __post_init__(self) -> None:
        if not self.page:
            object.__setattr__(self, "page", f"{DOCS}/findings.md#{self.section}")

    def explains(self, design: str, scenario: str, labels: Iterable[str]) -> bool:
        return (
            any(fnmatchcase(design, pattern) for pattern in self.designs)
            and any(fnmatchcase(scenario.removesuffix(SHRUNK), pattern) for pattern in self.scenarios)
            and not set(self.labels).isdisjoint(labels)
        )


def is_ours(design: str) -> bool:
    """Return True for a design whose mechanisms are here: what they do not explain is new, and no known weakness."""
    return any(fnmatchcase(design, pattern) for mechanism in MECHANISMS for pattern in mechanism.designs)


MECHANISMS: Final[Sequence[Mechanism]] = (
    Mechanism(
        designs=ROW_AND_ETA,
        scenarios=("old_primary_*",),
        labels=("missed",),
        cause="a worker that asks the old primary whether a notification is wanted finds no row of those that were "
        "scheduled since, and drops the message",
        fix="fence an old primary before it starts; rewind it, and let it follow",
        section="old-primary",
    ),
    Mechanism(
        designs=("push_readmodel*", "oban_style_queue:*", "reference"),
        scenarios=LOSE_COMMITS,
        labels=("missed", "stale", "phantom"),
        cause="the database lost what it had acknowledged: schedules and cancels, with the events they belong to",
        setting="synchronous_commit, synchronous_standby_names and the archive of the log",
        fix="let commits wait for the disk and for a standby; no design is more durable than its database",
        section="lost-commits",
    ),
    Mechanism(
        designs=POLLERS,
        scenarios=LOSE_COMMITS,
        labels=("stale", "phantom"),
        cause="the database lost a change that it had acknowledged, and the poll finds the event as it was before",
        setting="synchronous_commit, synchronous_standby_names and the archive of the log",
        fix="let commits wait for the disk and for a standby; no design is more durable than its database",
        section="lost-commits",
    ),
    Mechanism(
        designs=("push_readmodel*", "oban_style_queue:*"),
        scenarios=("old_primary_*",),
        labels=("duplicate",),
        cause="a worker that connected to the old primary delivers what the new one had delivered already",
        setting="synchronous_standby_names, which keeps an old primary from acknowledging anything",
        fix="fence an old primary before it starts; rewind it, and let it follow",
        section="old-primary",
    ),
    Mechanism(
        designs=("push_readmodel*", "oban_style_queue:*"),
        scenarios=("failover_async", "unflushed", "restore"),
        labels=("duplicate",),
        cause="the database lost the commit after a delivery, so it is delivered again",
        fix="let commits wait for the disk and for a standby; no design is more durable than its database",
        section="lost-commits",
    ),
    Mechanism(
        designs=("push_readmodel*",),
        scenarios=(
            *("failover_sync", "sessions_terminated", "connections_used_up", "tables_*", "database_restart"),
            *("pooler_*", "disk_full_*", "descriptors_used_up"),
        ),
        labels=("duplicate",),
        cause="a session ended between a delivery and the commit that deletes its row",
        fix="send an idempotency key that the receiver checks; no scheduler can do without it",
        section="session-ended",
    ),
    Mechanism(
        designs=POLLERS,
        scenarios=("clock_skew",),
        labels=("early", "missed", "duplicate", "late"),
        cause="the worker's clock decides what is due: a wrong one polls the wrong window, or one window twice",
        fix="compare due times with the clock of the database",
        section="workers-clock",
        better="push_readmodel",
    ),
    Mechanism(
        designs=POLLERS,
        scenarios=("poison", "lost_answer"),
        labels=("missed", "duplicate", "late"),
        cause="one failed delivery ends its poll, and nothing records which notifications are still to be delivered",
        fix="keep a row for each notification until it is delivered, and retry each on its own",
        section="failed-poll",
        better="push_readmodel",
    ),
    Mechanism(
        designs=POLLERS,
        scenarios=("late_event",),
        labels=("missed",),
        cause="a reminder that becomes known after its window was polled is in no later window",
        fix="let the change schedule its reminder, instead of a poll that looks for it",
        section="known-too-late",
        better="push_readmodel",
    ),
    Mechanism(
        designs=("pull_worker:claimed", "pull_worker:watermark"),
        scenarios=("crash*", "wages"),
        labels=("duplicate",),
        cause="the worker was killed between a delivery and its record, so the next poll delivers it again",
        fix="send an idempotency key that the receiver checks",
        section="before-its-record",
    ),
    Mechanism(
        designs=("pull_worker", "pull_worker:watermark"),
        scenarios=(
            *("more_servers", "crash*", "rolling_deploy", "deploy_*", "pause", "burst", "wages"),
            *("old_primary_*", "settings_changed"),  # with two workers
        ),
        labels=("duplicate",),
        cause="each worker has a beat of its own, and their polls deliver the same window",
        setting="-B in the command of every worker",
        fix="run one beat for all workers, or claim each notification before its delivery",
        upstream="https://docs.celeryq.dev/en/stable/userguide/periodic-tasks.html",
        section="second-beat",
        better="pull_worker:one_beat",
    ),
    Mechanism(
        designs=("pull_worker:watermark",),
        labels=("duplicate",),
        cause="a poll begins before the one before it has ended, and delivers the same widened window",
        fix="claim each notification before its delivery",
        section="accumulated-ticks",
        better="pull_worker:claimed",
    ),
    Mechanism(
        designs=("pull_worker", "pull_worker:one_beat"),
        labels=("duplicate",),
        scenarios=(
            *("broker_*", "crash*", "rolling_deploy", "deploy_*", "move_and_cancel", "pause", "downtime", "backlog"),
            *("tables_locked", "restore", "old_primary_*", "disk_full_*", "memory_limit", "descriptors_used_up"),
        ),
        cause="ticks that wait in the broker run at once afterwards, and all poll the same window",
        setting="no expires on the entry in beat_schedule",
        fix="set expires to the interval of the beat; what fell due meanwhile is still missed",
        section="accumulated-ticks",
        better="pull_worker:claimed",
    ),
    Mechanism(
        designs=("pull_worker", "pull_worker:one_beat", "pull_worker:claimed"),
        scenarios=("boundary", "slow_gateway", "wages"),
        labels=("missed", "duplicate"),
        cause="ticks run a varying time after the full interval, so the windows leave gaps and overlap",
        fix="let each window begin where the last one ended",
        section="ticks-jitter",
        better="pull_worker:watermark",
    ),
    Mechanism(
        designs=("pull_worker:claimed",),
        scenarios=("disk_full_data",),
        labels=("missed",),
        cause="each delivery needs a claim, a new row for which a full disk has no page, so its poll fails",
        fix="keep a row for each notification until it is delivered: a DELETE needs no page",
        upstream="https://www.postgresql.org/docs/current/disk-full.html",
        section="disk-full",
        better="push_readmodel",
    ),
    Mechanism(
        designs=POLLERS,
        labels=("missed",),
        cause="no poll ran while it was due, and no later window covers it",
        setting="the window is as long as the interval of the beat",
        fix="record what was delivered, not what was polled: a window that begins at the last poll, or a table of rows",
        upstream="https://github.com/celery/celery/issues/6124",
        section="no-poll",
        better="push_readmodel",
    ),
    Mechanism(
        designs=("push_readmodel:delete_first",),
        labels=("missed",),
        cause="rows are deleted before they are delivered, so a kill or an error loses what was claimed",
        fix="delete the row after the delivery, and accept a duplicate",
        section="part-of-a-batch",
        better="push_readmodel",
    ),
    Mechanism(
        designs=("push_readmodel*", *ROW_AND_ETA, "oban_style_queue:staged"),
        scenarios=("lost_answer",),
        labels=("duplicate",),
        cause="a delivery whose answer is lost looks like one that failed, and is retried",
        fix="send an idempotency key that the receiver checks",
        section="lost-answer",
    ),
    Mechanism(
        designs=("push_readmodel*",),
        labels=("duplicate", "will_repeat"),
        cause="the killed worker had delivered a part of its batch, and its transaction was rolled back",
        setting="a batch is 50 ms of deliveries",
        fix="send an idempotency key that the receiver checks; no scheduler can do without it",
        section="part-of-a-batch",
    ),
    Mechanism(
        designs=(*PLAIN_QUEUE, *ROW_AND_ETA),
        scenarios=("dual_write",),
        labels=("missed",),
        cause="the commit and the publication are two steps, and the client was killed between them",
        fix="write the job in the same transaction as the event",
        upstream="https://docs.celeryq.dev/en/stable/userguide/tasks.html#database-transactions",
        section="two-steps",
        better="oban_style_queue:staged",
    ),
    Mechanism(
        designs=(*PLAIN_QUEUE, *ROW_AND_ETA),
        scenarios=("clock_skew",),
        labels=("early", "late"),
        cause="a worker turns the ETA into a timer by its own clock when it receives the task",
        fix="compare due times with the clock of the database",
        section="clock-on-receipt",
        better="oban_style_queue:staged",
    ),
    Mechanism(
        designs=(*PLAIN_QUEUE, *ROW_AND_ETA),
        scenarios=("broker_restart_none", "broker_restart_rdb"),
        labels=("missed", "duplicate", "will_repeat"),
        cause="the broker loses what it had not written to disk, and a snapshot restores what was processed since",
        setting="appendonly no, save",
        fix="set appendonly yes, or keep the jobs in a database",
        upstream="https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/",
        section="broker-loses",
        better="oban_style_queue:staged",
    ),
    Mechanism(
        designs=(*PLAIN_QUEUE, *ROW_AND_ETA),
        scenarios=("broker_failover",),
        labels=("lost", "duplicate", "will_repeat"),
        cause="the replica that took over lacks what the old primary acknowledged last",
        setting="min-replicas-to-write, 0 by default",
        fix="keep jobs in a table until they are done, and publish them again",
        upstream="https://valkey.io/topics/sentinel/",
        section="broker-failover",
        better="oban_style_queue:staged",
    ),
    Mechanism(
        designs=ROW_AND_ETA,
        scenarios=("broker_failover",),
        labels=("missed",),
        cause="the replica that took over lacks messages that were acknowledged, and no row is published again",
        setting="min-replicas-to-write, 0 by default",
        fix="publish again what a row says is still to be delivered",
        upstream="https://valkey.io/topics/sentinel/",
        section="broker-failover",
        better="oban_style_queue:staged",
    ),
    Mechanism(
        designs=PLAIN_QUEUE,
        scenarios=("long_horizon",),
        labels=("duplicate",),
        cause="a task that is due after the visibility timeout is delivered again after each, and all copies run",
        setting="visibility_timeout in broker_transport_options, one hour by default",
        fix="ask a row whether it is still to be delivered, or keep far jobs in a table",
        upstream="https://github.com/celery/kombu/issues/337",
        section="visibility-timeout",
        better="oban_style_queue:hardened",
    ),
    Mechanism(
        designs=PLAIN_QUEUE,
        scenarios=("poison",),
        labels=("missed",),
        cause="a task whose delivery fails is not retried",
        setting="autoretry_for, none by default",
        fix="retry with a growing delay, and keep what was given up",
        upstream="https://docs.celeryq.dev/en/stable/userguide/tasks.html#retrying",
        section="lost-answer",
        better="oban_style_queue:hardened",
    ),
    Mechanism(
        designs=PLAIN_QUEUE,
        scenarios=("deploy_too_slow",),
        labels=("missed",),
        cause="a worker waits for its running deliveries before it returns its ETA tasks, and SIGKILL comes first",
        setting="worker_soft_shutdown_timeout, 0 by default, and the grace of the deploy",
        fix="return the ETA tasks before the grace is over: worker_soft_shutdown_timeout shorter than it by 1 s and "
        "0.5 s for each process, worker_enable_soft_shutdown_on_idle, and REMAP_SIGTERM=SIGQUIT",
        upstream="https://docs.celeryq.dev/en/stable/userguide/workers.html#soft-shutdown",
        section="deploy-grace",
        better="oban_style_queue:soft_shutdown",
    ),
    Mechanism(
        designs=PLAIN_QUEUE,
        scenarios=("disk_full_broker",),
        labels=("duplicate", "will_repeat"),
        cause="the broker could not store the acknowledgement of a task that ran, so the task comes back",
        fix="ask a row whether it is still to be delivered",
        upstream="https://valkey.io/topics/persistence/",
        section="broker-disk-full",
        better="oban_style_queue:hardened",
    ),
    Mechanism(
        designs=PLAIN_QUEUE,
        scenarios=("deploy_*", "crash*", "rolling_deploy", "wages", "*downtime", "backlog"),
        labels=("duplicate", "will_repeat"),
        cause="a pool process begins a task before the worker's main process has acknowledged it, and a worker that is "
        "stopping or dies may never do so",
        setting="task_acks_late, off by default",
        fix="make a second execution harmless: early acknowledgement does not exclude it",
        upstream="https://docs.celeryq.dev/en/stable/userguide/tasks.html",
        section="begins-unacknowledged",
    ),
    Mechanism(
        designs=PLAIN_QUEUE,
        labels=("stuck",),
        cause="a worker holds its ETA tasks in memory, and those of a dead one come back after the visibility timeout",
        setting="visibility_timeout in broker_transport_options, one hour by default",
        fix="keep jobs in a table until they are due; or a short timeout, and a row that makes the copies harmless",
        upstream="https://github.com/celery/celery/issues/4976",
        section="eta-in-memory",
        better="oban_style_queue:staged",
    ),
    Mechanism(
        designs=("celery:*",),
        labels=("missed",),
        cause="what a dead worker had acknowledged, or was about to receive, is gone",
        setting="task_acks_late, off unless the output says that it was taken",
        fix="acknowledge late, and send again what a row says is still to be delivered",
        upstream="https://github.com/celery/kombu/issues/305",
        section="eta-in-memory",
        better="oban_style_queue:staged",
    ),
    Mechanism(
        designs=PLAIN_QUEUE,
        labels=("missed",),
        cause="a task is acknowledged before it is executed, so what a dead worker had begun is gone",
        setting="task_acks_late, off by default",
        fix="set task_acks_late and task_reject_on_worker_lost, and make a second execution harmless",
        upstream="https://docs.celeryq.dev/en/stable/userguide/tasks.html",
        section="eta-in-memory",
        better="oban_style_queue:hardened",
    ),
    Mechanism(
        designs=PLAIN_QUEUE,
        labels=("phantom", "stale"),
        cause="only workers that are up receive a revoke, and they keep it in memory",
        setting="worker_state_db, none by default, keeps revokes for three hours",
        fix="ask the database at delivery time whether the notification is still wanted, and in which revision",
        upstream="https://docs.celeryq.dev/en/stable/userguide/workers.html#persistent-revokes",
        section="revokes-in-memory",
        better="oban_style_queue:hardened",
    ),
    Mechanism(
        designs=(*ROW_AND_ETA, "oban_style_queue:staged", "pull_worker:claimed"),
        scenarios=("burst", "far_flood"),
        labels=("missed", "late"),
        cause="each job is one or two transactions that are synced to disk, and thousands wait for one another",
        fix="deliver rows in batches, one transaction for many",
        section="several-commits",
        better="push_readmodel",
    ),
    Mechanism(
        designs=ROW_AND_ETA,
        labels=("missed",),
        cause="the broker's client takes a message and records it in a second step, so one on its way to a dead worker "
        "is lost",
        fix="send again what a row says is still to be delivered",
        upstream="https://github.com/celery/kombu/issues/305",
        section="lost-on-its-way",
        better="oban_style_queue:staged",
    ),
    Mechanism(
        designs=("oban_style_queue:*",),
        labels=("duplicate", "will_repeat"),
        cause="a slow or dead worker had delivered a job that was not recorded as done, and another executes it",
        setting="the time after which a job counts as abandoned",
        fix="send an idempotency key that the receiver checks",
        section="slow-worker",
    ),
)
