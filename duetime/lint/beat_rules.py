"""Rules about Celery beat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from celery.app.defaults import DEFAULTS

from duetime.lint.case import Case, listed
from duetime.lint.finding import Finding


def beat_on_every_host(case: Case) -> Iterator[Finding]:
    app = case.target.app
    beat_commands = [command for command in case.target.commands if command.beat]
    beats = len(beat_commands) * case.servers
    if beats < 2:
        return
    schedulers = {command.scheduler or app.conf.beat_scheduler for command in beat_commands}
    if all("redbeat" in scheduler.lower() for scheduler in schedulers):
        return  # RedBeat takes a lock in Redis
    if schedulers == {DEFAULTS["beat_scheduler"]} and not app.conf.beat_schedule:
        return  # the schedule is empty
    yield case.warning(
        setting="-B" if beat_commands[0].works else "celery beat",
        value=f"{beats} processes",
        is_default=False,
        consequence=f"beat takes no lock: {beats} beats send each periodic task {beats} times.",
        fix="one `celery beat` on one host and no -B; or a scheduler that takes a lock (RedBeat).",
        scenario="more_servers",
        see=("celery#2856", "celery#4808"),
    )


def entry_without_expiry(case: Case) -> Iterator[Finding]:
    app = case.target.app
    without = [
        name
        for name, entry in sorted((app.conf.beat_schedule or {}).items())
        if not _part(entry, "options").get("expires")
        and not getattr(app.tasks.get(_part(entry, "task")), "expires", None)
    ]
    if without:
        yield case.warning(
            setting="beat_schedule[…]['options']['expires']",
            value="missing",
            is_default=True,
            consequence=f"{listed(without)}: while the workers are down and beat is up, its messages accumulate in the "
            "queue; then all of them run at once.",
            fix="'options': {'expires': seconds} of about one interval, in each entry.",
            scenario="broker_blip_long",
            see=("celery#591",),
        )


def _part(entry: Any, name: str) -> Any:
    """Return a part of a beat entry, which is a dict or a ``celery.beat.ScheduleEntry``."""
    value = entry.get(name) if isinstance(entry, Mapping) else getattr(entry, name, None)
    return value or ({} if name == "options" else "")
