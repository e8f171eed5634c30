"""A client: a process of the application that carries out its part of the plan and writes down what it was told.

Started by the harness with its instructions as one JSON line on standard input; answers ``ready``; begins at the
instant that the second line names.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn, assert_never

from sqlalchemy import create_engine, event
from sqlalchemy.orm import Session

from duetime import registry
from duetime.app.follow_ups import FOLLOW_UPS, FollowUp, FollowUps
from duetime.app.use_cases import Application
from duetime.app.visible_state import revision_shown
from duetime.clock import Instant, system_clock
from duetime.errors import HarnessError, ScheduleRejected
from duetime.harness.plan.plan import PlannedOperation, operation_from
from duetime.interface import MIGRATION_SEPARATOR, Notification, Scheduler
from duetime.migration import migrate
from duetime.runtime.failpoints import Failpoints
from duetime.runtime.jsonl import JsonLinesWriter
from duetime.settings import Settings

OLD_WORKERS_END_S = 15.0
LOOK_AGAIN_S = 0.1
POLL = re.compile(r"poll window=\S+/(\S+) ")


class Recorder(Scheduler):
    """A scheduler that writes an ``invoke`` before each call, and how the transaction ended after it."""

    def __init__(self, scheduler: Scheduler, journal: JsonLinesWriter, *, client: int) -> None:
        self._scheduler = scheduler
        self._journal = journal
        self._client = client
        self._lines = 0
        self._open: list[str] = []
        self.started = Instant(0, 0)

    def schedule(self, notification: Notification, *, session: Session) -> None:
        self.schedule_many([notification], session=session)

    def schedule_many(self, notifications: Sequence[Notification], *, session: Session) -> None:
        wall_to_mono_ns = self.started.mono_ns - self.started.wall_ns
        self._invoke(
            {
                "op": one.op,
                "f": "schedule",
                "key": one.key,
                "revision": one.revision,
                "due_ns": _wall_ns(one.due_at) + wall_to_mono_ns,
            }
            for one in notifications
        )
        self._scheduler.schedule_many(notifications, session=session)

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        self._invoke([{"op": f"{key}/{revision}", "f": "cancel", "key": key, "revision": revision}])
        self._scheduler.cancel(key, revision=revision, session=session)

    def answer_for(self, op: str, *, because: str) -> None:
        """Acknowledge a call that another process made and did not live to see answered."""
        self._write([{"op": op, "type": "ok", "because": because}])

    def close(self, kind: str, error: Exception | None = None) -> None:
        """Write `kind` as the end of every call since the last close."""
        more = {"error": f"{type(error).__name__}: {error}"[:300]} if error else {}
        self._write([{"op": op, "type": kind, **more} for op in self._open])
        self._open.clear()

    def _invoke(self, calls: Iterable[dict[str, object]]) -> None:
        invoked = [{**call, "type": "invoke"} for call in calls]
        self._write(invoked)
        self._open += [str(call["op"]) for call in invoked]

    def _write(self, records: Sequence[dict[str, object]]) -> None:
        """All at one instant, which is before what they announce is begun, or after what they answer for is over."""
        stamp = {"client": self._client, "at_ns": time.monotonic_ns()}
        self._journal.append_all({"i": i, **record, **stamp} for i, record in enumerate(records, start=self._lines))
        self._lines += len(records)


class ChangedItsMind(Exception):
    """The application rolls back, at the very end of its transaction."""


class Client:
    """Carries out operations one after another, each at its time or as soon afterwards as it can."""

    def __init__(self, settings: Settings, recorder: Recorder, *, run_dir: Path) -> None:
        """run_dir: where whoever operates the servers would look for their logs."""
        self._run_dir = run_dir
        self._engine = create_engine(
            settings.database_url,
            connect_args={"connect_timeout": 3, "options": "-c statement_timeout=5000"},
        )
        self._settings = settings
        self._lead = settings.reminder_lead
        self._recorder = recorder
        self._application = Application(recorder, reminder_lead=settings.reminder_lead, time_scale=settings.time_scale)
        self._follow_ups = FollowUps(recorder, time_scale=settings.time_scale)
        self._time_scale = settings.time_scale
        self._retired_events: set[int] = set()

    def connect(self) -> None:
        """Open the connection now, so that the first operation does not wait for it."""
        self._engine.connect().close()

    def settle(self, interrupted: Sequence[Mapping[str, Any]]) -> None:
        """Answer for a predecessor that died: what the application's own tables show did take effect.

        The user who reloads the page sees the event there; that is the acknowledgement. What is not there stays open.
        """
        with Session(self._engine) as session:
            for call in interrupted:
                if revision_shown(session, call["key"]) >= call["revision"]:
                    self._recorder.answer_for(call["op"], because="the application's tables show the change")

    def run(self, operations: Sequence[PlannedOperation], started: Instant) -> None:
        self._recorder.started = started
        for operation in operations:
            wait_ns = started.mono_ns + int(operation.at_s * 1e9) - time.monotonic_ns()
            time.sleep(max(0, wait_ns) / 1e9)
            if operation.event not in self._retired_events:
                self._attempt(operation, started)

    def _attempt(self, operation: PlannedOperation, started: Instant) -> None:
        try:
            with Session(self._engine) as session:
                if operation.rolled_back:
                    event.listen(session, "before_commit", _change_mind)
                self._do(session, operation, started)
        except (ScheduleRejected, ChangedItsMind) as error:
            # The one exception that says what happened: nothing, because the application let its transaction go.
            self._recorder.close("fail", error)
        except HarnessError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever else it was, it may have taken effect
            self._recorder.close("info", error)
            print(f"{operation.do}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)  # noqa: T201
        else:
            self._recorder.close("ok")
            return
        # Nobody knows what stands under this event's keys now, so nobody touches them again.
        self._retired_events.add(operation.event)

    def _do(self, session: Session, operation: PlannedOperation, started: Instant) -> None:
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
                self._follow(session, operation, FOLLOW_UPS[operation.kind or ""], started)
            case "migrate":
                self._migrate()
            case _:
                assert_never(operation.do)

    def _migrate(self) -> None:
        """What whoever operates the application does on the command line; there is nothing to do for most designs.

        Raises:
            HarnessError: it was refused or failed, so this run says nothing.
        """
        old, to, new = self._settings.design.partition(MIGRATION_SEPARATOR)
        if not to:
            return
        leaving = registry.load(old)
        try:
            if leaving.check_can_migrate:
                self._wait_for_old_workers_to_end()
            since = last_window_end(self._run_dir / "logs")
            migrate(leaving, registry.load(new), self._settings, self._engine, since=since)
        except Exception as error:
            raise HarnessError(f"the migration failed: {type(error).__name__}: {error}") from error

    def _wait_for_old_workers_to_end(self) -> None:
        """A poll that is still under way writes down where it ended when it has."""
        give_up_at = time.monotonic() + OLD_WORKERS_END_S
        while not seen_to_leave(self._run_dir / "faults.jsonl"):
            if time.monotonic() > give_up_at:
                raise HarnessError("the servers of the old design are still there")
            time.sleep(LOOK_AGAIN_S)

    def _follow(self, session: Session, operation: PlannedOperation, what: FollowUp, started: Instant) -> None:
        number = operation.event
        if operation.do == "call_off":
            self._follow_ups.cancel(session, what, number=number)
            return
        began_at = self._began(what, self._due(operation, started))
        if operation.do == "begin":
            user = operation.users[0]
            self._follow_ups.begin(session, what, number=number, user_id=user, began_at=began_at)
        else:
            self._follow_ups.postpone(session, what, number=number, began_at=began_at)

    def _began(self, what: FollowUp, due_at: datetime) -> datetime:
        """When it began that follows at `due_at`; twice, because the month before may be of another length."""
        began_at = due_at
        for _ in range(2):
            began_at = due_at - (what.due_at(began_at, time_scale=self._time_scale) - began_at)
        return began_at

    def _start(self, operation: PlannedOperation, started: Instant) -> datetime:
        """The event starts one lead time after its reminder falls due."""
        return self._due(operation, started) + self._lead

    def _due(self, operation: PlannedOperation, started: Instant) -> datetime:
        if operation.due_s is None:
            raise ValueError(f"{operation.do} of event {operation.event} has no due time")
        due_us = started.wall_ns // 1000 + round(operation.due_s * 1e6)
        return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=due_us)


def seen_to_leave(faults: Path) -> bool:
    """Whether a server that was to go for good is gone."""
    records = [json.loads(line) for line in faults.read_text().splitlines()] if faults.exists() else []
    return any(record["kind"] == "worker_removed" and record["phase"] == "observed" for record in records)


def last_window_end(logs: Path) -> datetime | None:
    """Where the servers of the old design had got to, if they are pollers, which say so in their logs alone."""
    polls = [line for log in sorted(logs.glob("old-*.log")) for line in POLL.findall(log.read_text(errors="replace"))]
    return max(map(datetime.fromisoformat, polls), default=None)


def _change_mind(_session: Session) -> NoReturn:
    raise ChangedItsMind("rolled back")


def _wall_ns(at: datetime) -> int:
    return (at - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1) * 1000


def main() -> None:
    instructions = json.loads(sys.stdin.readline())
    settings = Settings.from_environment()
    scheduler = registry.load(settings.design).scheduler(settings)
    history = Path(instructions["history"])
    recorder = Recorder(scheduler, JsonLinesWriter(history), client=instructions["client"])
    client = Client(settings, recorder, run_dir=history.parent)
    client.connect()
    client.settle(instructions["interrupted"])
    Failpoints().watch()
    print("ready", flush=True)  # noqa: T201 - the harness reads it
    begin = sys.stdin.readline()
    if not begin:
        return  # the run was called off
    operations = [operation_from(operation) for operation in instructions["operations"]]
    started = Instant(**json.loads(begin))
    # What users wanted while nobody served them they did not get; done late, it would be another scenario.
    begun_s = max(0.0, (time.monotonic_ns() - started.mono_ns) / 1e9)
    client.run([operation for operation in operations if operation.at_s >= begun_s], started)
    # More may come, one a line, for as long as somebody thinks of more; a planned run closes the pipe.
    for line in sys.stdin:
        client.run([operation_from(json.loads(line))], started)


if __name__ == "__main__":
    main()
