"""Rules about due times: tasks that ignore them, and time zones.

How a worker reads an ETA was observed with Celery 5.7.0; the hour of `countdown`, with 5.6.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, timezone, tzinfo
from typing import Any

from celery.schedules import crontab
from celery.utils import time as celery_time

from duetime.lint.case import Case
from duetime.lint.finding import Finding
from duetime.lint.text import listed

COUNTS_ELAPSED_SECONDS = hasattr(celery_time, "add_seconds_to_datetime")
"""True from Celery 5.7: a countdown is added to the instant, no longer to the local wall clock."""


def always_eager(case: Case) -> Iterator[Finding]:
    if case.target.app.conf.task_always_eager:
        yield case.warning(
            **case.of("task_always_eager"),
            consequence="delay() and apply_async() run the task at once, in the process that calls them, and ignore "
            "ETA and countdown: a notification is delivered when it is scheduled. Nothing is sent to the broker, and "
            "an error is not retried later.",
            fix="False outside of tests. If these are the settings of the tests, check those of production.",
            scenario=None,
        )


def naive_eta(case: Case) -> Iterator[Finding]:
    app = case.target.app
    conf = app.conf
    if not case.horizon or (_is_utc(app.timezone) and (conf.timezone or conf.enable_utc)):
        return
    report = case.info if conf.enable_utc else case.warning
    zone = conf.timezone or "that of the machine"
    yield report(
        **case.of("timezone" if conf.enable_utc else "enable_utc"),
        consequence="if an ETA is naive (a datetime without a zone): a worker reads it as UTC, whatever enable_utc "
        f"and timezone say, and not in the zone of the application ({zone}). The task runs hours early or late. A "
        "countdown is not affected.",
        fix="datetime.now(UTC) + …, or any other datetime with a zone.",
        scenario=None,
    )


def countdown_across_clock_change(case: Case) -> Iterator[Finding]:
    zone = case.target.app.timezone
    if COUNTS_ELAPSED_SECONDS or not case.horizon or isinstance(zone, timezone) or _is_utc(zone):
        return
    yield case.warning(
        **case.of("timezone"),
        consequence="a countdown is added to the local wall clock, so a task with a countdown across a change of "
        "clocks runs an hour early or late.",
        fix="an ETA in UTC, timezone='UTC', or Celery 5.7.",
        scenario=None,
    )


def crontab_zone(case: Case) -> Iterator[Finding]:
    conf = case.target.app.conf
    if conf.timezone or not conf.enable_utc:
        return
    entries = (conf.beat_schedule or {}).items()
    at_an_hour = [name for name, entry in sorted(entries) if _names_an_hour(entry)]
    if at_an_hour:
        yield case.info(
            **case.of("timezone"),
            consequence=f"{listed(at_an_hour)}: a crontab is in UTC if no timezone is set.",
            fix="nothing, if UTC is meant; otherwise timezone='Europe/Berlin' or another zone.",
            scenario=None,
        )


def _names_an_hour(entry: Any) -> bool:
    schedule = entry.get("schedule") if isinstance(entry, Mapping) else getattr(entry, "schedule", None)
    return isinstance(schedule, crontab) and len(getattr(schedule, "hour", ())) < 24


def _is_utc(zone: tzinfo) -> bool:
    return zone == UTC or getattr(zone, "key", str(zone)) in {"UTC", "Etc/UTC"}
