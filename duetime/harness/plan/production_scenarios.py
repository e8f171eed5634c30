"""Scenarios about what happens to the database of a production system."""

from __future__ import annotations

from duetime.harness.plan.plan import Environment, PlannedFault, Replication
from duetime.harness.plan.scenario import Scenario
from duetime.harness.plan.workload import events_changed_once, mixed_events

REPLICATED: tuple[tuple[Replication, str, str], ...] = (
    (
        "asynchronous",
        "after replication was behind by a second",
        "what was acknowledged and not replicated is lost, in every design; no design can do better",
    ),
    (
        "synchronous",
        "with replication that each commit waits for",
        "nothing acknowledged is lost, and each connection has to find the new primary",
    ),
)

OLD_PRIMARY: tuple[tuple[str, Replication, str, str], ...] = (
    (
        "old_primary_returns",
        "asynchronous",
        "and accepts writes",
        "two primaries know nothing of each other: what one has delivered is still to be delivered by the other",
    ),
    (
        "old_primary_fenced",
        "synchronous",
        "and waits for a standby at each commit",
        "synchronous_standby_names is a fence: an old primary without a standby acknowledges nothing",
    ),
)

REPLICATION = (
    *(
        Scenario(
            name=f"failover_{replication.removesuffix('hronous')}",
            what=f"the primary of the database is killed and its standby takes over, {how}",
            demonstrates=demonstrates,
            hardest_for="push_readmodel",
            operations=lambda random: events_changed_once(random, seconds=9, horizon_s=4),
            faults=(PlannedFault(fault="f1", kind="failover", target="database", inject_s=4.2, heal_s=6.6),),
            environment=Environment(replication=replication),
        )
        for replication, how, demonstrates in REPLICATED
    ),
    *(
        Scenario(
            name=name,
            what=f"after a failover the old primary is started again, {how}; then a worker connects to it",
            demonstrates=demonstrates,
            hardest_for="push_readmodel",
            workers=2,
            operations=lambda random: events_changed_once(random, seconds=9, horizon_s=4),
            faults=(
                PlannedFault(fault="f1", kind="failover", target="database", inject_s=4.2, heal_s=5.6),
                PlannedFault(fault="f2", kind="old_primary_returns", target="database", inject_s=8.0, heal_s=13.0),
                PlannedFault(fault="f3", kind="kill", target="worker-2", inject_s=8.8, heal_s=9.2),
            ),
            environment=Environment(replication=replication),
        )
        for name, replication, how, demonstrates in OLD_PRIMARY
    ),
    Scenario(
        name="unflushed",
        what="the database server is killed and restarted, and acknowledges commits before they are on disk",
        demonstrates="with synchronous_commit=off a commit is acknowledged a moment before it would survive a crash",
        hardest_for="push_readmodel",
        operations=lambda random: events_changed_once(random, seconds=9, horizon_s=4),
        faults=(PlannedFault(fault="f1", kind="database_kill", target="database", inject_s=5.2, heal_s=6.6),),
        environment=Environment(flushes_commits=False),
    ),
)

MAINTENANCE = (
    Scenario(
        name="sessions_terminated",
        what="every session of the database is terminated",
        demonstrates="a connection can end at any moment, also in the middle of a transaction",
        hardest_for="pull_worker",
        operations=lambda random: mixed_events(random, seconds=9, horizon_s=4),
        faults=(PlannedFault(fault="f1", kind="sessions_terminated", target="database", inject_s=5.2, heal_s=5.4),),
    ),
    Scenario(
        name="tables_locked",
        what="every table is locked for 3 s, as a migration that waits for something else locks it",
        demonstrates="who waits for a table delivers late, and must not give up",
        hardest_for="pull_worker",
        operations=lambda random: mixed_events(random, seconds=9, horizon_s=4),
        faults=(PlannedFault(fault="f1", kind="tables_locked", target="database", inject_s=5.2, heal_s=8.2),),
    ),
    Scenario(
        name="tables_rewritten",
        what="ADD COLUMN, VACUUM FULL, REINDEX CONCURRENTLY and DROP COLUMN on every table",
        demonstrates="maintenance under load moves every row, and changes every prepared statement",
        hardest_for="push_readmodel",
        operations=lambda random: mixed_events(random, seconds=9, horizon_s=4),
        faults=(PlannedFault(fault="f1", kind="tables_rewritten", target="database", inject_s=5.2, heal_s=6.2),),
    ),
    Scenario(
        name="connections_used_up",
        what="another program takes every connection that the database allows, for 3 s",
        demonstrates="a worker that cannot connect has to try again, and must not exit for good",
        hardest_for="pull_worker",
        operations=lambda random: mixed_events(random, seconds=9, horizon_s=4),
        faults=(PlannedFault(fault="f1", kind="connections_used_up", target="database", inject_s=5.2, heal_s=8.2),),
    ),
    Scenario(
        name="settings_changed",
        what="the server is reloaded with default_transaction_isolation = serializable",
        demonstrates="a default of the server is a default of every design that does not set its own",
        hardest_for="push_readmodel",
        workers=2,
        operations=lambda random: mixed_events(random, seconds=9, horizon_s=4),
        faults=(PlannedFault(fault="f1", kind="settings_changed", target="database", inject_s=3.2, heal_s=9.2),),
    ),
    Scenario(
        name="restore",
        what="the database is lost and replaced by a backup that was taken 1.5 s before",
        demonstrates="what was acknowledged since the backup is lost, and what was delivered since comes again",
        hardest_for="push_readmodel",
        operations=lambda random: events_changed_once(random, seconds=9, horizon_s=4),
        faults=(PlannedFault(fault="f1", kind="restore", target="database", inject_s=4.2, heal_s=6.6),),
    ),
)

DATABASE = (*REPLICATION, *MAINTENANCE)
"""See docs/faults.md."""
