"""All rules. Each rule is a mechanism of Celery or kombu that loses or duplicates tasks under some setting.

The mechanisms are from the sources of Celery 5.7.0 and kombu 5.7.0; docs/settings.md names the files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

from duetime.lint.beat_rules import beat_on_every_host, entry_without_expiry
from duetime.lint.broker_rules import (
    exits_without_broker,
    mixed_timeouts,
    no_reconnection,
    timeout_above_lateness,
    timeout_below_horizon,
)
from duetime.lint.case import CONSUMER_TIMEOUT, Case, Target, own_tasks, registered
from duetime.lint.finding import Finding
from duetime.lint.task_rules import (
    early_acknowledgement,
    eta_limit,
    late_acknowledgement,
    late_but_not_rejected,
    never_retried,
    revokes_forgotten,
    revokes_purged,
)

Rule = Callable[[Case], Iterator[Finding]]

BEAT_RULES: Sequence[Rule] = (beat_on_every_host, entry_without_expiry)
TASK_RULES: Sequence[Rule] = (
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


def lint(
    targets: Sequence[Target],
    *,
    horizon: timedelta,
    lateness: timedelta,
    servers: int = 2,
    grace: timedelta | None = None,
    consumer_timeout: timedelta = CONSUMER_TIMEOUT,
) -> list[Finding]:
    """Return the findings of all rules about `targets`. Opens no connection.

    Raises:
        BadUsage: a broker option is not a number.
    """
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
    return [*findings, *mixed_timeouts(cases)]


def _rules_for(case: Case) -> Sequence[Rule]:
    return [*(TASK_RULES if registered(case.target) else [no_tasks]), *BEAT_RULES]


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
