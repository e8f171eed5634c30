"""The same poller: it looks ahead, and its interval has the right unit."""

import sys
import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from duetime.app.reminders import reminder
from duetime.clock import system_clock
from duetime.interface import Role
from duetime.runtime.gateway import gateway_from
from duetime.settings import Settings
from pull_worker.design import design as poller
from pull_worker.poll import Window, participants_of_events_starting_in


def window(now: datetime, *, lead: timedelta, interval: timedelta) -> Window:
    """Return the start times of the events to remind of now, `lead` before they begin."""
    return Window(now + lead - interval, now + lead)


def serve(settings: Settings) -> None:
    engine, gateway = create_engine(settings.database_url), gateway_from(settings)
    interval = settings.poll_interval
    print("ready", flush=True)
    while True:
        time.sleep(1 - time.time() % 1)  # until the next full second, the interval of a run
        with Session(engine) as session:
            due = window(system_clock(), lead=settings.reminder_lead, interval=interval)
            for participation in participants_of_events_starting_in(session, due):
                gateway.deliver(reminder(participation, lead=settings.reminder_lead))


role = Role(name="worker", argv=(sys.executable, str(Path(__file__).resolve())), ready="ready")
design = replace(
    poller,
    name="right_window",
    summary="a loop selects the events that start in one lead time",
    weakness="every other weakness of a poller",
    roles=[role],
    uses_broker=False,
)

if __name__ == "__main__":
    serve(Settings.from_environment())
