"""Why a design fails in a scenario about a production system; see duetime/report/mechanisms.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from duetime.report.mechanism import PLAIN_QUEUE, POLLERS, ROW_AND_ETA, Mechanism

LOSE_COMMITS: Final = ("failover_async", "old_primary_returns", "unflushed", "restore")

PRODUCTION_MECHANISMS: Final[Sequence[Mechanism]] = (
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
        scenarios=("disk_full_broker",),
        labels=("duplicate", "will_repeat"),
        cause="the broker could not store the acknowledgement of a task that ran, so the task comes back",
        fix="ask a row whether it is still to be delivered",
        upstream="https://valkey.io/topics/persistence/",
        section="broker-disk-full",
        better="oban_style_queue:hardened",
    ),
    Mechanism(
        designs=("reference",),
        scenarios=("host_vanishes",),
        labels=("missed", "late", "will_repeat"),
        cause="PostgreSQL keeps the rows of a vanished host locked until TCP gives up, and this design sets no timeout",
        setting="tcp_user_timeout and the keepalives of the server, by default those of the kernel: two hours",
        fix="set tcp_user_timeout for the sessions of workers",
        upstream="https://www.postgresql.org/docs/current/runtime-config-connection.html#GUC-TCP-USER-TIMEOUT",
        section="vanished-host",
        better="push_readmodel",
    ),
    Mechanism(
        designs=("oban_style_queue:staged", "pull_worker:*", "reference"),
        scenarios=("far_database",),
        labels=("late",),
        cause="each delivery is one or more transactions of its own, one after another, and each waits for its answers",
        fix="claim and acknowledge many rows in one transaction; keep workers near their database",
        section="far-database",
        better="push_readmodel",
    ),
    Mechanism(
        designs=POLLERS,
        labels=("phantom", "stale"),
        cause="a poll reads once what is due and delivers it one by one; what is cancelled or moved meanwhile is "
        "delivered all the same",
        fix="ask at each delivery whether it is still wanted",
        section="far-database",
        better="push_readmodel",
    ),
    Mechanism(
        designs=ROW_AND_ETA,
        scenarios=("descriptors_used_up",),
        labels=("missed",),
        cause="a task that fails is published again, and one that cannot be published is rejected without a requeue",
        fix="publish again what a row says is still to be delivered",
        upstream="https://github.com/celery/celery/blob/v5.7.0/celery/app/task.py#L961",
        section="dropped-retry",
        better="oban_style_queue:staged",
    ),
)
