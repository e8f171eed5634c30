"""The slow profile: a plan stretched in time, for libraries whose polls and rescues outlast a scenario."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite

from duetime.errors import BadUsage
from duetime.harness.plan.plan import DEFAULT_VISIBILITY_TIMEOUT_S, Environment, Plan, Profile


def checked(factor: float) -> float:
    """Return `factor`.

    Raises:
        BadUsage: it is below 1 or not a number.
    """
    if factor < 1 or not isfinite(factor):
        raise BadUsage(f"--slow {factor:g}: write a number from 1 on; 3 makes a scenario three times as long")
    return factor


def slowed(plan: Plan, factor: float) -> Plan:
    """Return `plan` with everything that the application decides taking `factor` times as long.

    What the machine decides stays as it is: how early a delivery may be by an error of a clock, how long a delivery and
    what overtakes it take, how wrong a clock is and how slow a gateway gets, how often a canary is sent. So does what a
    library decides, its polls and timeouts, because they are what the longer run is for.
    """
    if factor == 1:
        return plan
    return replace(
        plan,
        slow=factor,
        profile=_profile(plan.profile, factor),
        environment=_environment(plan.environment, factor),
        operations=[
            replace(each, at_s=each.at_s * factor, due_s=None if each.due_s is None else each.due_s * factor)
            for each in plan.operations
        ],
        faults=tuple(
            replace(each, inject_s=each.inject_s * factor, heal_s=each.heal_s * factor) for each in plan.faults
        ),
    )


def _profile(profile: Profile, factor: float) -> Profile:
    return replace(
        profile,
        lateness_limit_s=profile.lateness_limit_s * factor,
        recovery_budget_s={kind: seconds * factor for kind, seconds in profile.recovery_budget_s.items()},
        grace_s=profile.grace_s * factor,
        quiet_s=profile.quiet_s * factor,
        pending_budget_s=profile.pending_budget_s * factor,
        owed_until_s=None if profile.owed_until_s is None else profile.owed_until_s * factor,
        event_begins_s=profile.event_begins_s * factor,
    )


def _environment(environment: Environment, factor: float) -> Environment:
    """Stretch the days of the application and the rescue time; a visibility timeout only if it is not Celery's own."""
    visible_s = environment.visibility_timeout_s
    return replace(
        environment,
        visibility_timeout_s=visible_s if visible_s == DEFAULT_VISIBILITY_TIMEOUT_S else visible_s * factor,
        rescue_after_s=environment.rescue_after_s * factor,
        time_scale=environment.time_scale / factor,
    )
