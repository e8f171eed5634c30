"""A client for `test_shards.py`: ``python -m benchmarks.schedule_client PREFIX CALLS AHEAD_S`` on one database.

Prints ``ready``, waits for a line, schedules CALLS notifications in a transaction each, and prints when it began and
ended, in nanoseconds of ``time.monotonic_ns()``, and the seconds of processor time that it used.
"""

from __future__ import annotations

import sys
import time
from datetime import timedelta

from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from duetime.clock import system_clock
from duetime.interface import Notification
from duetime.settings import Settings
from push_readmodel.scheduler import ReadModelScheduler


def main() -> None:
    prefix, calls, ahead = sys.argv[1], int(sys.argv[2]), timedelta(seconds=float(sys.argv[3]))
    engine, scheduler = create_engine(Settings.from_environment().database_url), ReadModelScheduler()
    due_at = system_clock() + ahead

    def schedule(key: str) -> None:
        with Session(engine) as session:
            notification = Notification(key=key, revision=1, kind="bench", recipient="a@b.example", due_at=due_at)
            scheduler.schedule(notification, session=session)
            session.commit()

    schedule(f"{prefix}:first")
    print("ready", flush=True)
    sys.stdin.readline()
    began_ns, used_s = time.monotonic_ns(), time.process_time()
    for number in range(calls):
        schedule(f"{prefix}:{number}")
    print(began_ns, time.monotonic_ns(), time.process_time() - used_s, flush=True)


if __name__ == "__main__":
    main()
