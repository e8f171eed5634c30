"""Settings of one process of the application or of a design, passed through ``DUETIME_…`` environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from duetime.errors import BadUsage
from duetime.urls import sqlalchemy_url

EFFECTS = "duetime.app.effects:STATEMENTS"
SCHEDULE_WAIT = timedelta(seconds=5)
"""Longer than a delivery through a healthy gateway, shorter than the patience of a request's caller."""
SERVICE = "DUETIME_SERVICE_"
"""The beginning of a variable with the URL of a service; the rest is the service's name in capitals."""
YES, NO = {"yes", "true", "on", "1"}, {"no", "false", "off", "0", ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one process.

    worker: the name of this worker, as the record of its deliveries shows it.
    deliveries: the file to which the gateway appends deliveries.
    delivery_time: how long the gateway takes for one delivery.
    reminder_lead: how long before an event its participants are reminded.
    poll_interval: the time between two polls of a poller.
    visibility_timeout: the time after which the broker redelivers an unacknowledged message; one hour is Celery's
    default.
    rescue_after: the time after which a design that rescues jobs treats the worker of an unfinished job as dead.
    watched: True if workers send Celery events, for Flower.
    heartbeat: the file for this worker's heartbeat; None for no heartbeat.
    effects: the SQL statements for effects inside the database, as ``package.module:attribute``.
    time_scale: follow-ups are due this many times sooner than in production.
    direct_database_url: the database at `database_url` without the pooler on the way, for whatever needs a session of
    its own; None if there is no pooler.
    schedule_wait: how long schedule() and cancel() wait for a row that a worker is delivering.
    broker_primary: the name of the broker's primary, if `broker_url` is that of Sentinels; else empty.
    services: the URLs of the servers that the design brings itself, by their names.
    shards: the URLs of all databases of an application that is sharded; empty if `database_url` is its only one.
    """

    design: str
    database_url: str
    broker_url: str
    worker: str
    deliveries: Path
    delivery_time: timedelta
    reminder_lead: timedelta
    poll_interval: timedelta
    visibility_timeout: timedelta = timedelta(hours=1)
    rescue_after: timedelta = timedelta(minutes=5)
    watched: bool = False
    heartbeat: Path | None = None
    effects: str = EFFECTS
    time_scale: float = 1.0
    direct_database_url: str | None = None
    schedule_wait: timedelta = SCHEDULE_WAIT
    broker_primary: str = ""
    services: Mapping[str, str] = field(default_factory=dict)
    shards: tuple[str, ...] = ()

    def for_worker(self, name: str) -> Settings:
        return replace(self, worker=name)

    @property
    def celery_events(self) -> dict[str, bool]:
        """The Celery settings that make clients and workers send events; empty unless `watched`."""
        names = ("worker_send_task_events", "task_send_sent_event", "task_track_started")
        return dict.fromkeys(names, True) if self.watched else {}

    @property
    def broker_options(self) -> dict[str, Any]:
        """Celery's ``broker_transport_options`` for `broker_url`; empty unless it is that of Sentinels."""
        return {"master_name": self.broker_primary} if self.broker_primary else {}

    @property
    def driver_options(self) -> dict[str, Any]:
        """The ``connect_args`` of an engine for `database_url`."""
        return driver_options(self.database_url)

    def environment(self) -> dict[str, str]:
        """Return the variables from which ``from_environment`` reads these settings back."""
        return {
            "DUETIME_DESIGN": self.design,
            "DUETIME_DATABASE_URL": self.database_url,
            "DUETIME_BROKER_URL": self.broker_url,
            "DUETIME_WORKER": self.worker,
            "DUETIME_DELIVERIES": str(self.deliveries),
            "DUETIME_DELIVERY_TIME_S": str(self.delivery_time.total_seconds()),
            "DUETIME_REMINDER_LEAD_S": str(self.reminder_lead.total_seconds()),
            "DUETIME_POLL_INTERVAL_S": str(self.poll_interval.total_seconds()),
            "DUETIME_VISIBILITY_TIMEOUT_S": str(self.visibility_timeout.total_seconds()),
            "DUETIME_RESCUE_AFTER_S": str(self.rescue_after.total_seconds()),
            "DUETIME_WATCHED": "yes" if self.watched else "no",
            "DUETIME_HEARTBEAT": str(self.heartbeat or ""),
            "DUETIME_EFFECTS": self.effects,
            "DUETIME_TIME_SCALE": str(self.time_scale),
            "DUETIME_DIRECT_DATABASE_URL": self.direct_database_url or "",
            "DUETIME_BROKER_PRIMARY": self.broker_primary,
            "DUETIME_SCHEDULE_WAIT_S": str(self.schedule_wait.total_seconds()),
            "DUETIME_SHARDS": " ".join(self.shards),
            **{SERVICE + name.upper(): url for name, url in self.services.items()},
        }

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read the ``DUETIME_…`` variables.

        Raises:
            BadUsage: a variable without a default is not set, or a value is not of the right kind.
        """
        variables = _Variables(environment)
        heartbeat = variables.text("DUETIME_HEARTBEAT", "")
        direct = variables.text("DUETIME_DIRECT_DATABASE_URL", "")
        return cls(
            design=variables.text("DUETIME_DESIGN"),
            database_url=sqlalchemy_url(variables.text("DUETIME_DATABASE_URL")),
            broker_url=variables.text("DUETIME_BROKER_URL"),
            worker=variables.text("DUETIME_WORKER", "worker-1"),
            deliveries=Path(variables.text("DUETIME_DELIVERIES", "deliveries.jsonl")),
            delivery_time=variables.seconds("DUETIME_DELIVERY_TIME_S", "0"),
            reminder_lead=variables.seconds("DUETIME_REMINDER_LEAD_S", "600"),
            poll_interval=variables.seconds("DUETIME_POLL_INTERVAL_S", "60"),
            visibility_timeout=variables.seconds("DUETIME_VISIBILITY_TIMEOUT_S", "3600"),
            rescue_after=variables.seconds("DUETIME_RESCUE_AFTER_S", "300"),
            watched=variables.flag("DUETIME_WATCHED"),
            heartbeat=Path(heartbeat) if heartbeat else None,
            effects=variables.text("DUETIME_EFFECTS", EFFECTS),
            time_scale=variables.positive("DUETIME_TIME_SCALE"),
            direct_database_url=sqlalchemy_url(direct, variable="DUETIME_DIRECT_DATABASE_URL") if direct else None,
            broker_primary=variables.text("DUETIME_BROKER_PRIMARY", ""),
            schedule_wait=variables.seconds("DUETIME_SCHEDULE_WAIT_S", str(SCHEDULE_WAIT.total_seconds())),
            services={
                name.removeprefix(SERVICE).lower(): url for name, url in environment.items() if name.startswith(SERVICE)
            },
            shards=tuple(
                sqlalchemy_url(url, variable="DUETIME_SHARDS") for url in variables.text("DUETIME_SHARDS", "").split()
            ),
        )


class _Variables:
    """Environment variables, read with an error that tells what to write."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def text(self, name: str, default: str | None = None) -> str:
        value = self._environment.get(name, default)
        if value is None:
            raise BadUsage(f"{name} is not set; export it (a run sets it for the processes that it starts)")
        return value

    def seconds(self, name: str, default: str) -> timedelta:
        value = self.text(name, default)
        try:
            return timedelta(seconds=float(value))
        except (ValueError, OverflowError):
            raise BadUsage(f"{name} is {value!r}; write a number of seconds") from None

    def positive(self, name: str) -> float:
        value = self.text(name, "1")
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if number <= 0:
            raise BadUsage(f"{name} is {value!r}; write a number above 0")
        return number

    def flag(self, name: str) -> bool:
        value = self.text(name, "no")
        if value.lower() not in YES | NO:
            raise BadUsage(f"{name} is {value!r}; write yes or no")
        return value.lower() in YES


def driver_options(url: str) -> dict[str, Any]:
    """Return the ``connect_args`` of an engine for `url`: psycopg prepares no statements.

    A transaction pooler would execute them in sessions that do not know them, or that know others by the same name.
    """
    return {"prepare_threshold": None} if url.startswith("postgresql+psycopg:") else {}
