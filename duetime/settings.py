"""What a process of the application or of a design is told from outside, through its environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from duetime.errors import BadUsage

EFFECTS = "duetime.app.effects:STATEMENTS"
TRUTH = {
    "yes": True,
    "true": True,
    "on": True,
    "1": True,
    "no": False,
    "false": False,
    "off": False,
    "0": False,
    "": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One process's view of the world around it.

    server: the name of this instance, as deliveries record it.
    deliveries: the file that stands for the outside world.
    delivery_time: how long the outside world takes to answer one delivery.
    reminder_lead: how long before an event its participants are reminded.
    poll_interval: how often a poller looks.
    visibility_timeout: after how long the broker gives back what a worker took and did not acknowledge; Celery's
    default unless a run is about it.
    rescue_after: after how long without an end a design that rescues takes a delivery's worker for dead.
    watched: whether workers tell a dashboard what they do.
    heartbeat: the file in which this server leaves its signs of life, if anybody looks there.
    effects: where the statements are for what is done inside the database, as ``package.module:attribute``.
    time_scale: how many times sooner than in life follow-ups are due.
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

    def for_worker(self, name: str) -> Settings:
        """These settings as the server called `name` gets them."""
        return replace(self, worker=name)

    @property
    def celery_events(self) -> dict[str, bool]:
        """Celery's settings by which clients and workers tell a dashboard what they do; none unless `watched`."""
        told = ("worker_send_task_events", "task_send_sent_event", "task_track_started")
        return dict.fromkeys(told, True) if self.watched else {}

    def environment(self) -> dict[str, str]:
        """The variables from which ``from_environment`` reads these settings back."""
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
        }

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read the ``DUETIME_…`` variables.

        Raises:
            BadUsage: one that has no default is missing, or one is not what it has to be.
        """

        def text(name: str, default: str | None = None) -> str:
            value = environment.get(name, default)
            if value is None:
                raise BadUsage(f"{name} is not set; duetime sets it for the processes it starts")
            return value

        def seconds(name: str, default: str) -> timedelta:
            value = text(name, default)
            try:
                return timedelta(seconds=float(value))
            except ValueError:
                raise BadUsage(f"{name} is {value!r}; write a number of seconds") from None

        def factor(name: str) -> float:
            value = text(name, "1")
            try:
                number = float(value)
            except ValueError:
                number = 0.0
            if number <= 0:
                raise BadUsage(f"{name} is {value!r}; write a number above 0")
            return number

        def truth(name: str) -> bool:
            value = text(name, "no")
            if value.lower() not in TRUTH:
                raise BadUsage(f"{name} is {value!r}; write yes or no")
            return TRUTH[value.lower()]

        return cls(
            design=text("DUETIME_DESIGN"),
            database_url=sqlalchemy_url(text("DUETIME_DATABASE_URL")),
            broker_url=text("DUETIME_BROKER_URL"),
            worker=text("DUETIME_WORKER", "worker-1"),
            deliveries=Path(text("DUETIME_DELIVERIES", "deliveries.jsonl")),
            delivery_time=seconds("DUETIME_DELIVERY_TIME_S", "0"),
            reminder_lead=seconds("DUETIME_REMINDER_LEAD_S", "600"),
            poll_interval=seconds("DUETIME_POLL_INTERVAL_S", "60"),
            visibility_timeout=seconds("DUETIME_VISIBILITY_TIMEOUT_S", "3600"),
            rescue_after=seconds("DUETIME_RESCUE_AFTER_S", "300"),
            watched=truth("DUETIME_WATCHED"),
            effects=text("DUETIME_EFFECTS", EFFECTS),
            time_scale=factor("DUETIME_TIME_SCALE"),
            heartbeat=Path(heartbeat) if (heartbeat := text("DUETIME_HEARTBEAT", "")) else None,
        )


def sqlalchemy_url(url: str) -> str:
    """`url` with psycopg named as the driver, so that the spelling every other tool uses works here too."""
    scheme, separator, rest = url.partition("://")
    return f"postgresql+psycopg://{rest}" if separator and scheme in {"postgres", "postgresql"} else url
