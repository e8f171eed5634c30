"""Rules about Celery beat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from duetime.lint.case import Case
from duetime.lint.commands import WorkerCommand
from duetime.lint.durations import format_duration
from duetime.lint.finding import Finding
from duetime.lint.schedulers import PLACES, Scheduler, scheduler_of
from duetime.lint.text import listed

UPSTREAM = ("celery#2856", "celery#4808")


def beat_on_every_host(case: Case) -> Iterator[Finding]:
    beats = [(c, found) for c, found in _beats(case) if found.kind != "celery" or case.target.app.conf.beat_schedule]
    processes = sum(case.hosts(command) for command, _ in beats)
    unlocked = sum(case.hosts(command) for command, found in beats if not found.locks and found.kind != "unknown")
    senders = unlocked + any(found.locks for _, found in beats)  # all beats with RedBeat's lock send as one
    if unlocked and senders > 1:
        yield _several_senders(case, beats, senders)
    elif any(found.kind == "unknown" for _, found in beats) and processes > 1:
        names = sorted({found.name for _, found in beats if found.kind == "unknown"})
        yield case.not_judged(
            setting="beat_scheduler",
            value=listed(names),
            is_default=False,
            consequence=f"not judged: whether the scheduler {listed(names)} takes a lock. Without a lock, {processes} "
            f"beats send each periodic task {processes} times.",
            fix="nothing, if it takes a lock or elects a leader; otherwise one beat.",
            scenario="more_servers",
            see=UPSTREAM,
        )
    elif unlocked and any(not command.works and command.hosts is None for command, _ in beats):
        yield case.info(
            setting="celery beat",
            value="1 process",
            is_default=False,
            consequence="counted once, because its command has no number of hosts. It takes no lock: a second one, "
            "also during a deployment that starts the new one before the old one has ended, sends each periodic task "
            "again.",
            fix="nothing, if it runs once; otherwise write the number, for instance '2x celery -A shop beat'.",
            scenario="more_servers",
            see=UPSTREAM,
        )


def _several_senders(case: Case, beats: Sequence[tuple[WorkerCommand, Scheduler]], senders: int) -> Finding:
    unlocked = [(command, found) for command, found in beats if not found.locks]
    disabled = any(found.kind == "redbeat" for _, found in unlocked)
    places = sorted({f" in {PLACES[found.kind]}" for _, found in unlocked if found.kind in PLACES})
    return case.warning(
        setting="redbeat_lock_key" if disabled else "-B" if unlocked[0][0].works else "celery beat",
        value="None" if disabled else f"{senders} processes",
        is_default=False,
        consequence=f"{listed(sorted({f.name for _, f in unlocked}))} takes no lock, so {senders} beats send each "
        f"periodic task{places[0] if places else ''} {senders} times"
        + (", whenever they read it before one of them has written that it ran." if disabled else "."),
        fix="no redbeat_lock_key, for RedBeat's default; or one beat."
        if disabled
        else "one `celery beat` on one host and no -B; or a scheduler that takes a lock (RedBeat), for all of them.",
        scenario="more_servers",
        see=(*UPSTREAM, *(["django-celery-beat#337"] if any(f.kind == "database" for _, f in unlocked) else [])),
    )


def redbeat_lock_expires_between_ticks(case: Case) -> Iterator[Finding]:
    for lock in {found.lock for _, found in _beats(case) if found.lock and found.lock.key}:
        # With a timeout of up to one interval, a beat that has nothing to send sleeps until its lock has expired.
        if lock.timeout_s <= lock.max_interval_s:
            yield case.warning(
                setting="redbeat_lock_timeout",
                value=f"{lock.timeout_s:g}",
                is_default=False,
                consequence=f"beat extends its lock when it wakes up, and sleeps up to {lock.max_interval_s:g} s when "
                "no task is due. Then its lock has expired, and beat ends with LockNotOwnedError.",
                fix=f"several times beat_max_loop_interval ({lock.max_interval_s:g} s); the default is five times.",
                scenario="more_servers",
                see=("redbeat#230",),
            )


def redbeat_lock_outlasts_lateness(case: Case) -> Iterator[Finding]:
    for lock in {found.lock for _, found in _beats(case) if found.lock and found.lock.key}:
        wait = timedelta(seconds=lock.timeout_s + lock.max_interval_s)
        if wait > case.lateness:
            yield case.warning(
                setting="redbeat_lock_timeout",
                value=f"{lock.timeout_s:g}",
                is_default=False,
                consequence="a killed beat does not release its lock. Another beat, or its own restart, waits "
                f"{lock.timeout_s:g} s for the lock to expire and tries only every {lock.max_interval_s:g} s, so "
                f"periodic tasks are up to {format_duration(wait)} late.",
                fix="a lower beat_max_loop_interval, with redbeat_lock_timeout at several times that: together at most "
                f"{format_duration(case.lateness)}.",
                scenario="crash",
            )


def entries_elsewhere(case: Case) -> Iterator[Finding]:
    for kind in sorted({found.kind for _, found in _beats(case)} & PLACES.keys()):
        yield case.not_judged(
            setting="beat_scheduler",
            value=listed(sorted({found.name for _, found in _beats(case) if found.kind == kind})),
            is_default=False,
            consequence=f"not judged: periodic tasks that exist only in {PLACES[kind]}, because no connection is "
            "opened. Without an expiry, their messages accumulate while the workers are down.",
            fix="an expiry for each of them.",
            scenario="broker_blip_long",
        )


def _beats(case: Case) -> list[tuple[WorkerCommand, Scheduler]]:
    app = case.target.app
    return [(command, scheduler_of(app, command)) for command in case.target.commands if command.beat]


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
