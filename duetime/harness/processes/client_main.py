"""A client process of the application: carries out its part of the plan and records every call.

Reads JSON lines from standard input. The first says which client it is: it loads the design and prints ``loaded``. The
second has its operations, and what a killed predecessor left: it connects, finds out what was committed, and prints
``ready``. It begins at the instant in the third. Later lines are further operations. A standby has only the first line
until the client that it may replace is killed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn, assert_never

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.orm import Session

from duetime import registry
from duetime.app.follow_ups import FOLLOW_UPS, FollowUp, FollowUps
from duetime.app.use_cases import Application
from duetime.app.visible_state import revision_shown
from duetime.clock import Instant, system_clock
from duetime.errors import HarnessError, ScheduleRejected
from duetime.harness.plan.plan import PlannedOperation, operation_from
from duetime.harness.processes.recorder import Recorder
from duetime.interface import MIGRATION_SEPARATOR
from duetime.migration import migrate
from duetime.runtime.failpoints import Failpoints
from duetime.runtime.heartbeat import read_heartbeat
from duetime.runtime.jsonl import JsonLinesWriter
from duetime.settings import Settings

OLD_WORKERS_END_S = 15.0
CHECK_EVERY_S = 0.1
CONNECT_TIMEOUT_S = 3
STATEMENT_TIMEOUT = "statement_timeout=5000"


class RolledBack(Exception):
    """The application rolled its transaction back, as planned."""


class Client:
    """Carries out operations one after another, each at its time or as soon afterwards as possible.

    faults: the run's fault records. old_heartbeats: the heartbeat files of the old design's workers, in a migration.
    pooled: True if the database is behind a pooler.
    """

    def __init__(
        self,
        settings: Settings,
        recorder: Recorder,
        *,
        faults: Path,
        old_heartbeats: Sequence[Path],
        pooled: bool = False,
    ) -> None:
        self._faults = faults
        self._old_heartbeats = old_heartbeats
        self._engine = _pooled_engine(settings) if pooled else _engine(settings.database_url)
        self._settings = settings
        self._recorder = recorder
        self._application = Application(recorder, reminder_lead=settings.reminder_lead, time_scale=settings.time_scale)
        self._follow_ups = FollowUps(recorder, time_scale=settings.time_scale)
        self._unusable_events: set[int] = set()

    def connect(self) -> None:
        """Open the connection now, so that the first operation does not wait for it."""
        self._engine.connect().close()

    def resolve(self, interrupted: Sequence[Mapping[str, Any]]) -> None:
        """Acknowledge the calls of a killed predecessor that took effect according to the application's tables.

        A user who reloads the page sees the change there, which is an acknowledgement. The other calls stay open.
        """
        with Session(self._engine) as session:
            for call in interrupted:
                if revision_shown(session, call["key"]) >= call["revision"]:
                    self._recorder.acknowledge(call["op"], because="the application's tables show the change")

    def run(self, operations: Sequence[PlannedOperation], started: Instant) -> None:
        self._recorder.started = started
        for operation in operations:
            wait_ns = started.mono_ns + int(operation.at_s * 1e9) - time.monotonic_ns()
            time.sleep(max(0, wait_ns) / 1e9)
            if operation.event not in self._unusable_events:
                self._attempt(operation, started)

    def _attempt(self, operation: PlannedOperation, started: Instant) -> None:
        try:
            with Session(self._engine) as session:
                if operation.rolled_back:
                    event.listen(session, "before_commit", _roll_back)
                self._carry_out(session, operation, started)
        except (ScheduleRejected, RolledBack) as error:
            # These two mean that nothing took effect, because the application does not commit after them.
            self._recorder.close("fail", error)
        except HarnessError:
            raise
        except Exception as error:  # noqa: BLE001 - after any other error the outcome is unknown
            self._recorder.close("info", error)
            print(f"{operation.do}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)  # noqa: T201
        else:
            self._recorder.close("ok")
            return
        # The state of this event's keys is unknown now, so later operations on them are skipped.
        self._unusable_events.add(operation.event)

    def _carry_out(self, session: Session, operation: PlannedOperation, started: Instant) -> None:
        application = self._application
        match operation.do:
            case "create_event":
                application.create_event(
                    session,
                    event_id=operation.event,
                    title=f"event {operation.event}",
                    starts_at=self._start(operation, started),
                    user_ids=operation.users,
                )
            case "move_event":
                application.move_event(session, event_id=operation.event, starts_at=self._start(operation, started))
            case "cancel_event":
                application.cancel_event(session, event_id=operation.event)
            case "join_event":
                application.join_event(session, event_id=operation.event, user_id=operation.users[0])
            case "leave_event":
                application.leave_event(session, event_id=operation.event, user_id=operation.users[0])
            case "change_address":
                address = operation.address or ""
                application.change_address(session, user_id=operation.users[0], address=address, now=system_clock())
            case "begin" | "postpone" | "call_off":
                self._change_follow_up(session, operation, FOLLOW_UPS[operation.kind or ""], started)
            case "migrate":
                self._migrate()
            case _:
                assert_never(operation.do)

    def _migrate(self) -> None:
        """Carry out `duetime migrate` if the design is a pair OLD-to-NEW.

        Raises:
            HarnessError: the migration was refused or failed, so the run proves nothing.
        """
        old_name, separator, new_name = self._settings.design.partition(MIGRATION_SEPARATOR)
        if not separator:
            return
        old = registry.load(old_name)
        try:
            if old.migrates_stopped:
                self._wait_for_old_workers_to_end()
            migrate(old, registry.load(new_name), self._settings, self._engine, since=reached(self._old_heartbeats))
        except Exception as error:
            raise HarnessError(f"the migration failed: {type(error).__name__}: {error}") from error

    def _wait_for_old_workers_to_end(self) -> None:
        """Wait until a poll that is still running has written the end of its window to its heartbeat."""
        give_up_at = time.monotonic() + OLD_WORKERS_END_S
        while not worker_was_removed(self._faults):
            if time.monotonic() > give_up_at:
                raise HarnessError("the workers of the old design are still running")
            time.sleep(CHECK_EVERY_S)

    def _change_follow_up(
        self, session: Session, operation: PlannedOperation, follow_up: FollowUp, started: Instant
    ) -> None:
        number = operation.event
        if operation.do == "call_off":
            self._follow_ups.cancel(session, follow_up, number=number)
            return
        began_at = self._began_at(follow_up, self._due(operation, started))
        if operation.do == "begin":
            user = operation.users[0]
            self._follow_ups.begin(session, follow_up, number=number, user_id=user, began_at=began_at)
        else:
            self._follow_ups.postpone(session, follow_up, number=number, began_at=began_at)

    def _began_at(self, follow_up: FollowUp, due_at: datetime) -> datetime:
        """The beginning after which `follow_up` is due at `due_at`."""
        began_at = due_at
        # Two steps, because the length of a month depends on where it begins.
        for _ in range(2):
            began_at = due_at - (follow_up.due_at(began_at, time_scale=self._settings.time_scale) - began_at)
        return began_at

    def _start(self, operation: PlannedOperation, started: Instant) -> datetime:
        """The start of the event, one lead time after its reminder falls due."""
        return self._due(operation, started) + self._settings.reminder_lead

    def _due(self, operation: PlannedOperation, started: Instant) -> datetime:
        if operation.due_s is None:
            raise ValueError(f"{operation.do} of event {operation.event} has no due time")
        due_us = started.wall_ns // 1000 + round(operation.due_s * 1e6)
        return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=due_us)


def _engine(url: str) -> Engine:
    return create_engine(url, connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "options": f"-c {STATEMENT_TIMEOUT}"})


def _pooled_engine(settings: Settings) -> Engine:
    """Return an engine with the same limits that keeps nothing in a session: a pooler refuses options, too."""
    options = {"connect_timeout": CONNECT_TIMEOUT_S, **settings.driver_options}
    engine = create_engine(settings.database_url, connect_args=options)

    @event.listens_for(engine, "begin")
    def limit(connection: Connection) -> None:
        connection.exec_driver_sql(f"SET LOCAL {STATEMENT_TIMEOUT}")

    return engine


def worker_was_removed(faults: Path) -> bool:
    """Return True if the records in `faults` show that a `worker_removed` was verified."""
    records = [json.loads(line) for line in faults.read_text().splitlines()] if faults.exists() else []
    return any(record["kind"] == "worker_removed" and record["phase"] == "observed" for record in records)


def reached(heartbeats: Sequence[Path]) -> datetime | None:
    """The latest time up to which one of these workers has polled; None if none of them polls."""
    records = [record for file in heartbeats if (record := read_heartbeat(file))]
    return max((datetime.fromisoformat(record.reached) for record in records if record.reached), default=None)


def _roll_back(_session: Session) -> NoReturn:
    raise RolledBack("rolled back, as planned")


def main() -> None:
    instructions = json.loads(sys.stdin.readline())
    settings = Settings.from_environment()
    scheduler = registry.load(settings.design).scheduler(settings)
    recorder = Recorder(scheduler, JsonLinesWriter(Path(instructions["history"])), client=instructions["client"])
    client = Client(
        settings,
        recorder,
        faults=Path(instructions["faults"]),
        old_heartbeats=[Path(file) for file in instructions["old_heartbeats"]],
        pooled=instructions["pooled"],
    )
    print("loaded", flush=True)  # noqa: T201 - the harness reads it
    planned = sys.stdin.readline()
    if not planned:
        return  # no client was killed
    plan = json.loads(planned)
    client.connect()
    client.resolve(plan["interrupted"])
    # Before the start is chosen, because a large plan takes long.
    operations = [operation_from(operation) for operation in plan["operations"]]
    Failpoints().watch()
    print("ready", flush=True)  # noqa: T201 - the harness reads it
    begin = sys.stdin.readline()
    if not begin:
        return  # the run was stopped before it began
    started = Instant(**json.loads(begin))
    # Operations that were due while no client ran are skipped, because carried out late they would be another plan.
    begun_s = max(0.0, (time.monotonic_ns() - started.mono_ns) / 1e9)
    client.run([operation for operation in operations if operation.at_s >= begun_s], started)
    # The demo sends more operations; a planned run closes the pipe.
    for line in sys.stdin:
        client.run([operation_from(json.loads(line))], started)


if __name__ == "__main__":
    main()
