"""Scenarios by name, and stored plans as scenarios."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from duetime.errors import BadUsage, UnknownName
from duetime.harness.plan.catalogue import ALL
from duetime.harness.plan.plan import Plan
from duetime.harness.plan.scenario import Replay, Scenario
from duetime.harness.plan.slow import checked
from duetime.history.format import upgraded


def names() -> list[str]:
    return [scenario.name for scenario in ALL]


def named(name: str) -> Scenario:
    """The scenario called `name`, or the stored plan in the file `name` if it ends in ``.json``.

    Raises:
        UnknownName: there is no such scenario.
        BadUsage: the file is not a plan.
    """
    if name.endswith(".json"):
        return replay(Path(name))
    for scenario in ALL:
        if scenario.name == name:
            return scenario
    raise UnknownName("scenario", name, names())


def slowed(scenario: Scenario, factor: float) -> Scenario:
    """`scenario`, `factor` times as long.

    Raises:
        BadUsage: there is no such factor, or the plan is a stored one.
    """
    if factor != 1 and isinstance(scenario, Replay):
        raise BadUsage(f"--slow {factor:g}: a stored plan is repeated as it is; leave the option out")
    return replace(scenario, slow=checked(factor))


def replay(path: Path) -> Replay:
    """A scenario whose plan is the plan.json at `path`, of any format that can be read.

    Raises:
        BadUsage: the file is not a plan.
    """
    try:
        plan = Plan.from_json(upgraded(json.loads(path.read_bytes())))
    except OSError as error:
        raise BadUsage(f"{path}: cannot be read ({error.strerror}); give the plan.json of a stored run") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadUsage(
            f"{path} is not a plan that this version can read ({type(error).__name__} {error}); "
            "give the plan.json of a stored run"
        ) from error
    return Replay(
        name=plan.scenario,
        what=f"the stored plan {path}",
        demonstrates="whether a result is repeatable",
        hardest_for="no design in particular",
        workers=plan.workers,
        operations=lambda _random: list(plan.operations),
        faults=tuple(plan.faults),
        profile=plan.profile,
        environment=plan.environment,
        written=plan,
    )
