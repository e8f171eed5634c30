"""Schedules for a benchmark, in a library's interpreter: ``league_client.py NUMBER DUE_IN_S STEP_S SIZE PREFIX``.

The first notification is due `DUE_IN_S` seconds from now, each further one `STEP_S` later. A transaction has `SIZE`
of them. Prints how many seconds the calls and commits took, and the wall-clock time of the first due time.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime, timedelta

from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from duetime import registry
from duetime.interface import Notification
from duetime.settings import Settings


def main(number: int, due_in_s: float, step_s: float, size: int, prefix: str) -> None:
    settings = Settings.from_environment()
    scheduler = registry.load(settings.design).scheduler(settings)
    engine = create_engine(settings.database_url)
    engine.connect().close()
    first = datetime.now(UTC) + timedelta(seconds=due_in_s)
    notes = [
        Notification(
            key=f"{prefix}{index}",
            revision=1,
            kind="bench",
            recipient="a@b.example",
            due_at=first + timedelta(seconds=index * step_s),
        )
        for index in range(number)
    ]
    began_s = time.perf_counter()
    for start in range(0, number, size):
        with Session(engine) as session:
            session.execute(text("SELECT 1"))  # the application's own work
            scheduler.schedule_many(notes[start : start + size], session=session)
            session.commit()
    took_s = time.perf_counter() - began_s
    print(json.dumps({"took_s": took_s, "first_due": first.timestamp()}))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
