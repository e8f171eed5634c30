"""Scenarios about due times, load and use cases, and those that run only when they are named."""

from __future__ import annotations

from duetime.harness.plan.fault_scenarios import SLOW_DELIVERIES
from duetime.harness.plan.plan import Environment, PlannedFault, Profile
from duetime.harness.plan.scenario import LATENESS_LIMIT_S, REMINDER_LEAD_S, Scenario
from duetime.harness.plan.workload import (
    address_changes,
    created_or_moved_after_due,
    due_at_poll,
    events_created_early,
    follow_ups,
    large_events,
    migration_mid_run,
    mixed_events,
    moved_and_cancelled_events,
    simultaneous_event,
    simultaneous_payments,
    unchanged_events,
)

CAPACITY_PROFILE = Profile(
    # A reminder that is later than this arrives after its event has begun.
    lateness_limit_s=REMINDER_LEAD_S,
    delivery_time_s=0.0,
    measures_capacity=True,
)

CLOCKS = (
    Scenario(
        name="clock_skew",
        what="the worker's clock is 2 s fast for 4 s, and later 2 s slow for 4 s",
        demonstrates="which clock decides that a notification is due",
        hardest_for="pull_worker",
        operations=lambda random: mixed_events(random, seconds=14, horizon_s=4),
        faults=(
            PlannedFault(fault="f1", kind="clock", target="worker-1", inject_s=3.1, heal_s=7.1, size_s=2.0),
            PlannedFault(fault="f2", kind="clock", target="worker-1", inject_s=10.1, heal_s=14.1, size_s=-2.0),
        ),
    ),
    Scenario(
        name="boundary",
        what="notifications fall due at the moment of a poll",
        demonstrates="polls jitter, so time windows of a fixed length leave gaps and overlap",
        hardest_for="pull_worker",
        operations=lambda random: due_at_poll(random, seconds=range(3, 10), each=20),
        side_by_side=3,
    ),
    Scenario(
        name="late_event",
        what="events are created or moved when their reminder has just become due",
        demonstrates="a time window that has passed is not polled again",
        hardest_for="pull_worker",
        operations=lambda random: [
            *created_or_moved_after_due(random, seconds=range(3, 9)),
            *mixed_events(random, seconds=5, horizon_s=3),
        ],
    ),
    Scenario(
        name="move_and_cancel",
        what="many events are moved or cancelled, close to the due time or before the workers restart",
        demonstrates="a cancellation that is kept only in memory is lost at a restart",
        hardest_for="oban_style_queue",
        operations=lambda random: [
            *moved_and_cancelled_events(random),
            *unchanged_events(random, seconds=7, horizon_s=3, clients=(1,)),
        ],
        faults=(PlannedFault(fault="f1", kind="deploy", target="all", inject_s=4.9, heal_s=4.9),),
    ),
    Scenario(
        name="long_horizon",
        what="reminders fall due later than the broker's visibility timeout (4 s here, one hour by default)",
        demonstrates="the broker redelivers a message that a worker keeps in memory, again and again",
        hardest_for="oban_style_queue",
        operations=lambda random: [
            *events_created_early(random, created_s=(0.2, 2.5), due_s=(13, 15), events=12),
            *mixed_events(random, seconds=5, horizon_s=3),
        ],
        # kombu restores such messages every 100 s; its documented settings for that are 1 s where the timeout is short.
        environment=Environment(visibility_timeout_s=4.0),
    ),
)

LOAD = (
    Scenario(
        name="far_flood",
        what="2,000 notifications are due in an hour and a few now",
        demonstrates="notifications for the distant future must not delay those that are due",
        hardest_for="no design at these settings; a worker with worker_eta_task_limit",
        profile=Profile(lateness_limit_s=LATENESS_LIMIT_S, owed_until_s=60.0),
        operations=lambda random: [
            *(
                operation
                for number in range(980, 988)
                for operation in simultaneous_event(due_s=3600.5, people=250, number=number)
            ),
            *unchanged_events(random, seconds=12, horizon_s=4, clients=(1,)),
        ],
        side_by_side=3,
    ),
    Scenario(
        name="burst",
        what="5,000 notifications fall due within one second",
        demonstrates="how long the last of them waits",
        hardest_for="oban_style_queue:staged",
        workers=2,
        profile=CAPACITY_PROFILE,
        operations=lambda _random: [
            operation
            for number in range(10)
            for operation in simultaneous_event(
                due_s=9.40 + number * 0.05, people=500, number=980 + number, client=number % 2, at_s=0.2
            )
        ],
        side_by_side=1,
    ),
    Scenario(
        name="old_transaction",
        what="a transaction stays open while notifications are scheduled and delivered",
        demonstrates="a queue in a table leaves dead rows, which vacuum cannot remove while an old snapshot is open",
        hardest_for="push_readmodel",
        profile=Profile(lateness_limit_s=4.0, delivery_time_s=0.0),
        operations=lambda random: [
            *(
                operation
                for number in range(8)
                for operation in simultaneous_event(
                    due_s=4.45 + number * 0.5, people=50, number=980 + number, client=number % 2, at_s=1.2
                )
            ),
            *unchanged_events(random, seconds=8, horizon_s=3, clients=(1,)),
        ],
        side_by_side=3,
        faults=(PlannedFault(fault="f1", kind="old_transaction", target="database", inject_s=0.8, heal_s=10.0),),
    ),
)

USE_CASES = (
    Scenario(
        name="use_cases",
        what="one worker and all six use cases: reminders, trials, reviews, reservations, wages, unpaid orders",
        demonstrates="one schedule() serves all of them; one second of the run is one day of the application",
        hardest_for="no design",
        operations=lambda random: [*follow_ups(random, seconds=7), *mixed_events(random, seconds=4, horizon_s=3)],
    ),
    Scenario(
        name="use_cases_downtime",
        what="all six use cases; the worker is killed and restarted several days later",
        demonstrates="which designs deliver what fell due meanwhile; a status column in the application's tables helps",
        hardest_for="oban_style_queue",
        operations=lambda random: [*follow_ups(random, seconds=9), *mixed_events(random, seconds=4, horizon_s=3)],
        faults=(PlannedFault(fault="f1", kind="kill", target="all", inject_s=5.2, heal_s=8.6),),
    ),
    Scenario(
        name="wages",
        what="reminders and wages fall due together, and one of two workers is killed while it delivers them",
        demonstrates="a delivery to the gateway may be duplicated; an effect inside the database need not be",
        hardest_for="oban_style_queue:staged",
        workers=2,
        profile=SLOW_DELIVERIES,
        operations=lambda random: [
            *simultaneous_event(due_s=4.6, people=8),
            *simultaneous_payments(due_s=4.6, errands=40, apart_s=0.01),
            *mixed_events(random, seconds=7, horizon_s=4),
        ],
        faults=(PlannedFault(fault="f1", kind="kill", target="delivering", inject_s=4.5, heal_s=7.5),),
    ),
)

ON_REQUEST = (
    Scenario(
        name="long_look",
        what="one worker, no fault, and a run that continues until well after the events",
        demonstrates="deliveries that come so late that another run would have ended before them",
        hardest_for="no design",
        profile=Profile(lateness_limit_s=LATENESS_LIMIT_S, grace_s=20.0),
        operations=lambda random: mixed_events(random, seconds=3, horizon_s=3),
    ),
    Scenario(
        name="new_address",
        what="addresses change after reminders were scheduled, and the workers restart afterwards",
        demonstrates="which designs send to the old address, because they keep a copy that cannot be replaced",
        hardest_for="oban_style_queue",
        operations=lambda random: [
            *address_changes(random),
            *unchanged_events(random, seconds=7, horizon_s=3, clients=(1,)),
        ],
        faults=(PlannedFault(fault="f1", kind="deploy", target="all", inject_s=4.9, heal_s=4.9),),
    ),
    Scenario(
        name="migration",
        what="the design is replaced while operations continue; for designs called OLD-to-NEW",
        demonstrates="the design behind schedule() can be replaced without stopping the application",
        hardest_for="a design that keeps no record of pending notifications",
        operations=lambda random: migration_mid_run(random, at_s=5.2),
    ),
    Scenario(
        name="migration_stopped",
        what="the design is replaced after its old worker was stopped; for pull_worker-to-NEW",
        demonstrates="a poller must tell the new design up to which time it has polled",
        hardest_for="notifications that fall due between the stop and the switch",
        operations=lambda random: migration_mid_run(random, at_s=5.2),
        faults=(PlannedFault(fault="f1", kind="worker_removed", target="old-worker-1", inject_s=5.0, heal_s=12.5),),
    ),
)
"""Run only when named, because they do not apply to most designs."""

CAPACITY = (
    Scenario(
        name="million",
        what="a million notifications: a thousand events with a thousand participants each",
        demonstrates="how much a design delivers in minutes, with two cores for everything",
        hardest_for="a design that does work for each notification separately",
        profile=CAPACITY_PROFILE,
        operations=lambda random: large_events(
            random, events=1000, people=1000, created_s=(0.2, 100.0), due_s=(75.0, 150.0)
        ),
        side_by_side=1,
    ),
)
"""Run only when named, one design at a time, because they take minutes and the whole machine."""
