"""The scheduler of a beat: where its periodic tasks are, and whether it takes a lock that other beats respect.

Read in the sources of Celery 5.7.0 (`beat.py`), celery-redbeat 2.4.2 (`schedulers.py`) and django-celery-beat 2.9.0
(`schedulers.py`).
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Literal

from celery import Celery
from kombu.utils.imports import symbol_by_name

from duetime.lint.commands import WorkerCommand

Kind = Literal["celery", "database", "redbeat", "unknown"]
KINDS: dict[str, Kind] = {
    "celery.beat.PersistentScheduler": "celery",
    "celery.beat.Scheduler": "celery",
    "django_celery_beat.schedulers.DatabaseScheduler": "database",
    "redbeat.schedulers.RedBeatScheduler": "redbeat",
}
KIND_BY_NAME: dict[str, Kind] = {
    **KINDS,
    "django": "database",
    "redbeat.RedBeatScheduler": "redbeat",
}
"""Also the names that the class has elsewhere, for an interpreter without the package."""

PLACES: dict[Kind, str] = {"database": "Django's database", "redbeat": "Redis"}
"""Where the scheduler keeps periodic tasks that no setting shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedBeatLock:
    """RedBeat's lock in Redis. `timeout_s` and `max_interval_s` are in seconds.

    key: None if `redbeat_lock_key` disables the lock.
    max_interval_s: the longest sleep of beat, and the time between two attempts of another beat to take the lock.
    """

    key: str | None
    timeout_s: float
    max_interval_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduler:
    """The scheduler of one command. `lock` is None if it takes none, or if its settings cannot be read here."""

    name: str
    kind: Kind
    lock: RedBeatLock | None = None

    @property
    def locks(self) -> bool:
        return self.kind == "redbeat" and (self.lock is None or bool(self.lock.key))


def scheduler_of(app: Celery, command: WorkerCommand) -> Scheduler:
    """Return the scheduler that `command` starts. Imports its class, and creates no scheduler."""
    name = str(command.scheduler or app.conf.beat_scheduler)
    try:
        found = symbol_by_name(name, aliases=_aliases())
    except Exception:  # noqa: BLE001  # any code may run; not installed here, or broken: beat cannot start it either, unless it runs elsewhere
        return Scheduler(name=name, kind=KIND_BY_NAME.get(name.replace(":", "."), "unknown"))
    kind = _kind(found)
    return Scheduler(name=name, kind=kind, lock=_redbeat_lock(app, command, found) if kind == "redbeat" else None)


@cache
def _aliases() -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group="celery.beat_schedulers")}


def _kind(found: object) -> Kind:
    path = f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}"
    if path in KINDS:
        return KINDS[path]
    # A subclass of RedBeat inherits its lock, which is taken by a signal. Another subclass may add a lock of its own.
    parents = [f"{parent.__module__}.{parent.__qualname__}" for parent in getattr(found, "__mro__", ())]
    return "redbeat" if "redbeat.schedulers.RedBeatScheduler" in parents else "unknown"


def _redbeat_lock(app: Celery, command: WorkerCommand, found: Any) -> RedBeatLock:
    written = command.options.get("max_interval")
    max_interval = float(written or app.conf.beat_max_loop_interval or found.max_interval)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        log = logging.getLogger("redbeat.schedulers")
        before, log.disabled = log.disabled, True
        try:
            conf = import_module("redbeat.schedulers").RedBeatConfig(app)  # reads settings, and connects to nothing
        finally:
            log.disabled = before
    timeout = float(conf.lock_timeout or max_interval * 5)
    return RedBeatLock(key=conf.lock_key, timeout_s=timeout, max_interval_s=max_interval)
