"""All rules. Each rule is a mechanism of Celery or kombu that loses or duplicates tasks under some setting.

The mechanisms are from the sources of Celery 5.7.0 and kombu 5.7.0; docs/settings.md names the files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

from duetime.lint import rabbitmq_rules, sqs_rules
from duetime.lint.beat_rules import (
    beat_on_every_host,
    entries_elsewhere,
    entry_without_expiry,
    redbeat_lock_expires_between_ticks,
    redbeat_lock_outlasts_lateness,
)
from duetime.lint.broker_rules import (
    exits_without_broker,
    mixed_timeouts,
    no_reconnection,
    timeout_above_lateness,
    timeout_below_horizon,
)
from duetime.lint.case import CONSUMER_TIMEOUT, Case, Target, own_tasks, registered
from duetime.lint.clock_rules import always_eager, countdown_across_clock_change, crontab_zone, naive_eta
from duetime.lint.find_app import others
from duetime.lint.finding import Finding
from duetime.lint.number_rules import beat_entry_not_a_number, not_a_number, task_option_not_a_number
from duetime.lint.shutdown_rules import no_soft_shutdown, soft_shutdown_outlasts_grace, soft_shutdown_without_effect
from duetime.lint.task_rules import (
    early_acknowledgement,
    eta_limit,
    late_acknowledgement,
    late_but_not_rejected,
    never_retried,
    revokes_forgotten,
    revokes_purged,
    revokes_unheard,
)
from duetime.lint.text import listed
from duetime.lint.time_limit_rules import late_task_outlasts_timeout, pool_ignores_limits
from duetime.lint.unjudged import not_judged

Rule = Callable[[Case], Iterator[Finding]]

ALWAYS: Sequence[Rule] = (not_a_number, soft_shutdown_outlasts_grace, soft_shutdown_without_effect, not_judged)
BEAT_RULES: Sequence[Rule] = (
    beat_on_every_host,
    redbeat_lock_expires_between_ticks,
    redbeat_lock_outlasts_lateness,
    entries_elsewhere,
    entry_without_expiry,
    beat_entry_not_a_number,
    crontab_zone,
)
RABBITMQ_RULES: Sequence[Rule] = (
    rabbitmq_rules.eta_above_consumer_timeout,
    rabbitmq_rules.static_prefetch,
    rabbitmq_rules.undetected_quorum_queues,
    rabbitmq_rules.native_delay,
    rabbitmq_rules.delay_queue_type,
    rabbitmq_rules.default_queue_type,
)
SQS_RULES: Sequence[Rule] = (
    sqs_rules.timeout_refused,
    sqs_rules.eta_beyond_timeout,
    sqs_rules.eta_beyond_retention,
    sqs_rules.timeout_above_lateness,
    sqs_rules.polls_too_rarely,
    sqs_rules.queue_not_predefined,
)
TASK_RULES: Sequence[Rule] = (
    always_eager,
    timeout_below_horizon,
    timeout_above_lateness,
    revokes_purged,
    revokes_forgotten,
    revokes_unheard,
    eta_limit,
    early_acknowledgement,
    late_but_not_rejected,
    late_acknowledgement,
    never_retried,
    no_reconnection,
    exits_without_broker,
    late_task_outlasts_timeout,
    pool_ignores_limits,
    no_soft_shutdown,
    task_option_not_a_number,
    naive_eta,
    countdown_across_clock_change,
    *RABBITMQ_RULES,
    *SQS_RULES,
)


def lint(
    targets: Sequence[Target],
    *,
    horizon: timedelta,
    lateness: timedelta,
    servers: int = 2,
    grace: timedelta | None = None,
    consumer_timeout: timedelta = CONSUMER_TIMEOUT,
) -> list[Finding]:
    """Return the findings of all rules about `targets`. Opens no connection."""
    cases = [
        Case(
            target=target,
            tasks=tasks,
            horizon=horizon,
            lateness=lateness,
            servers=servers,
            grace=grace,
            consumer_timeout=consumer_timeout,
        )
        for target, tasks in own_tasks(targets)
    ]
    findings = [finding for case in cases for rule in _rules_for(case) for finding in rule(case)]
    return [*findings, *mixed_timeouts(cases), *other_applications(cases)]


def _rules_for(case: Case) -> Sequence[Rule]:
    return [*(TASK_RULES if registered(case.target) else [no_tasks]), *BEAT_RULES, *ALWAYS]


def no_tasks(case: Case) -> Iterator[Finding]:
    yield case.info(
        setting="tasks",
        value="none",
        is_default=False,
        consequence="the application registers no task of its own after importing what a worker imports, so its "
        "workers hold no messages and the rules about messages do not apply.",
        fix="nothing, if that is correct; otherwise name the modules of the tasks in the setting `include`, or as "
        "targets.",
        scenario=None,
    )


def other_applications(cases: Sequence[Case]) -> Iterator[Finding]:
    """Name the applications that ``celery -A`` with the name of a module passes over."""
    judged = {id(case.target.app) for case in cases}
    for case in cases:
        if ":" not in case.target.name:
            names = sorted({name for name, app in others(case.target.app).items() if id(app) not in judged})
            if names:
                yield case.not_judged(
                    setting="TARGET",
                    value=case.target.name,
                    is_default=False,
                    consequence=f"not judged: {listed(names)}, because `celery -A {case.target.name}` takes another "
                    "application of the same module; name it as a target.",
                    fix="name it as a target.",
                    scenario=None,
                )
