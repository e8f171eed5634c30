"""The commands ``duetime designs``, ``duetime scenarios`` and ``duetime doctor``: what can be run here."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

import click

from duetime import registry
from duetime.cli.options import JSON, in_own_environment
from duetime.extras import MissingExtra
from duetime.interface import Design, Guarantees

_DELIVERY = {
    "nothing": "delivery not guaranteed",
    "unstated": "no guarantee is stated",
    "at_least_once": "delivery at least once",
    "at_most_once": "delivery at most once",
    "once_without_faults": "delivery once, not guaranteed under faults",
}


@click.command(name="designs")
@JSON
def designs_command(as_json: bool) -> None:
    """List the registered designs.

    Prints the summary, the guarantees and the known weakness of each. `duetime run` and `duetime compare` also accept a
    design as path/to/file.py:attribute.
    """
    designs = []
    for name in registry.names():
        try:
            designs.append(registry.load(name))
        except MissingExtra as error:
            click.echo(f"duetime: {error}", err=True)
    if as_json:
        click.echo(json.dumps([_design_as_json(design) for design in designs]))
        return
    for design in designs:
        guarantees = design.guarantees
        click.echo(f"{design.name}\n  {design.summary}")
        schedule = "is part of" if guarantees.transactional else "takes effect after"
        click.echo(
            f"  guarantees: {_DELIVERY[guarantees.delivery]}; schedule() {schedule} the caller's transaction; "
            f"{_cancels(guarantees)}"
        )
        click.echo(f"  weakness: {design.weakness}\n")


@click.command(name="scenarios")
@JSON
def scenarios_command(as_json: bool) -> None:
    """List the scenarios.

    Prints what happens in each, what it demonstrates, and the design that it is hardest for. The lateness limit
    applies without faults; a fault that excuses lateness extends it.
    """
    from duetime.harness.plan import catalogue

    if as_json:
        rows = [{"name": s.name, "what": s.what, "demonstrates": s.demonstrates} for s in catalogue.ALL]
        click.echo(json.dumps(rows))
        return
    for scenario in catalogue.ALL:
        workers = "1 worker" if scenario.workers == 1 else f"{scenario.workers} workers"
        limit_s = scenario.profile.lateness_limit_s
        click.echo(f"{scenario.name} ({workers})\n  {scenario.what}\n  demonstrates: {scenario.demonstrates}")
        click.echo(f"  hardest for: {scenario.hardest_for}; lateness limit: {limit_s:g} s if no fault extends it")
        if scenario not in catalogue.FULL:
            click.echo("  runs only if named")
        if scenario in catalogue.CAPACITY:
            click.echo("  measures capacity: takes minutes, one design at a time")
        click.echo()


@click.command(name="doctor")
@JSON
@in_own_environment
def doctor_command(as_json: bool) -> None:
    """Check what this machine can run.

    Starts both servers and injects each kind of fault once, which takes about a minute.

    Exit status: 0 everything works, 1 something does not; the lines that begin with `no` give the reason.
    """
    from duetime.harness.runs.doctor import examine

    click.echo("starting PostgreSQL and Valkey, then injecting each kind of fault: about a minute", err=True)
    checks = []
    for check in examine():
        checks.append(check)
        if not as_json:
            click.echo(f"{'ok  ' if check.ok else 'no  '} {check.what}: {check.detail}")
    if as_json:
        click.echo(json.dumps([{"what": check.what, "ok": check.ok, "detail": check.detail} for check in checks]))
    sys.exit(0 if all(check.ok for check in checks) else 1)


def _cancels(guarantees: Guarantees) -> str:
    if not guarantees.has_cancel:
        return "it cannot cancel"
    return "cancels hold under every fault" if guarantees.cancels else "a fault may undo cancels"


def _design_as_json(design: Design) -> dict[str, Any]:
    return {
        "name": design.name,
        "summary": design.summary,
        "weakness": design.weakness,
        "guarantees": asdict(design.guarantees),
        "roles": [role.name for role in design.roles],
    }
