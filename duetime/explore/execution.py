"""One interleaving, carried out: the participants wait until the search lets one of them take a step."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from duetime.errors import HarnessError
from duetime.explore.participant_main import notification
from duetime.explore.participants import Connection, Ended, Event, Happened, Participant
from duetime.explore.scopes import EFFECTS_TABLE_NAME, MIGRATION, STATEMENTS, Scope, call_to_json
from duetime.explore.state import state_of
from duetime.explore.steps import Step
from duetime.explore.testbed import RECOVERY, Testbed

AT_REST_WITHIN_S = 20.0
"""Longer than the longest wait for a lock. A participant that is busy for longer hangs."""
ASK_EVERY_S = 0.001
BLOCKED = "SELECT pid FROM unnest(%s::int[]) AS pid WHERE pg_isolation_test_session_is_blocked(pid, %s)"
RECOVERS_WITHIN_S = 30.0
IDLE_CHECKS = 4
"""Looks, a millisecond apart, at a library's threads."""
OWN, FREED, ANSWERED = 0.0, 0.7, 0.5
"""Parts of a step: its own statement is executed, then its call may return, then what waited for it goes on."""


class Execution:
    """See `duetime.explore.search.Execution`."""

    def __init__(self, testbed: Testbed, scope: Scope) -> None:
        self._testbed, self._scope = testbed, scope
        self._participants = {name: Participant(name) for name in scope.participants()}
        self._connections: dict[int, Connection] = {}
        self._blocked: set[int] = set()
        self._kills_left, self._cuts_left = scope.crashes, scope.cuts
        self._refuse = set(scope.failing)
        self._now = 0
        self._part = OWN
        self._stepping = ""
        self.events: list[Event] = []
        self.taken: list[Step] = []
        testbed.reset()
        self._schedule_before()
        testbed.command(do="step")
        for name in self._participants:
            testbed.fork(**self._task(name))
        self._settle()

    def _schedule_before(self) -> None:
        calls = [call_to_json(call) for call in self._scope.before]
        if self._testbed.design.contender:
            self._call_in_its_environment(calls)
        else:
            scheduler = self._testbed.design.scheduler(self._testbed.settings)
            with Session(self._testbed.engine) as session:
                scheduler.schedule_many(list(map(notification, calls)), session=session)
                session.commit()
        for call in self._scope.before:
            self._record("invoke", "before", op=call.op)
            self._record("ok", "before", op=call.op)

    def _call_in_its_environment(self, calls: Sequence[Mapping[str, Any]]) -> None:
        """Schedule with a library that only its own environment has."""
        self._testbed.command(do="through")
        caller = Participant(RECOVERY)
        participants, self._participants = self._participants, {RECOVERY: caller}
        self._testbed.fork(participant=RECOVERY, do="call", transactions=[calls])
        give_up_at = time.monotonic() + AT_REST_WITHIN_S
        while not caller.ended:
            self._receive(0.5)
            if time.monotonic() > give_up_at:
                raise HarnessError("the first calls did not return; see participants.log")
        if not any(event.what == "ok" for event in self.events):
            raise HarnessError(f"the first calls failed: {caller.error or 'see participants.log'}")
        self.events.clear()
        self._participants = participants

    def _task(self, name: str) -> dict[str, Any]:
        if name.startswith("app-"):
            transactions = self._scope.applications[int(name.removeprefix("app-")) - 1]
            calls = [[call_to_json(call) for call in calls] for calls in transactions]
            return {"participant": name, "do": "call", "transactions": calls}
        if name == MIGRATION:
            return {"participant": name, "do": "migrate"}
        return {"participant": name, "do": "work", "effects": STATEMENTS}

    def choices(self) -> Sequence[Step]:
        return [*self._next_steps(), *self._faults()]

    def state(self) -> str:
        waiting = [self._connections[identity] for identity in self._blocked]
        return state_of(
            self._participants,
            self.events,
            waiting,
            self._testbed.contents(),
            interchangeable=self._scope.worker_names(),
        )

    def _next_steps(self) -> Iterator[Step]:
        for participant in self._participants.values():
            if participant.delivering:
                label = f"delivers {participant.delivering['op']}"
                if participant.delivering["op"] in self._refuse:
                    label += ", refused"
                yield Step(participant.name, 0, participant.steps, "delivery", label)
            for _, connection in sorted(self._of(participant), key=lambda item: item[1].number):
                if connection.held:
                    yield Step(participant.name, connection.number, participant.steps, "statement", connection.held)

    def _faults(self) -> Iterator[Step]:
        for name in self._scope.worker_names():
            participant = self._participants[name]
            if not participant.ended and participant.pid:
                if self._kills_left:
                    yield Step(name, 0, participant.steps, "kill", "is killed")
                if self._cuts_left and any(connection.is_in_use for _, connection in self._of(participant)):
                    yield Step(name, 0, participant.steps, "cut", "loses its connection")

    def take(self, step: Step) -> None:
        self._now += 1
        self._part, self._stepping = OWN, step.participant
        self.taken.append(step)
        participant = self._participants[step.participant]
        participant.steps += 1
        for op in participant.invoking:
            self._record("invoke", participant.name, op=op)
        participant.invoking = ()
        if step.kind == "kill":
            self._kill(participant)
        elif step.kind == "cut":
            self._cut(participant)
        elif step.kind == "delivery":
            self._deliver(participant)
        else:
            self._go_on(participant, step.session)
        self._settle()

    def _kill(self, participant: Participant) -> None:
        self._kills_left -= 1
        self._record("kill", participant.name, since=min(participant.unacknowledged, default=self._now))
        os.kill(participant.pid, signal.SIGKILL)
        participant.delivering, participant.killed = None, True
        for _, connection in self._of(participant):
            connection.held = None

    def _cut(self, participant: Participant) -> None:
        """The worker notices it when it next uses the connection. A delivery that it has begun takes place."""
        self._cuts_left -= 1
        self._record("cut", participant.name, since=min([*participant.unacknowledged, participant.queried_at]))
        participant.cut = True
        for identity, connection in self._of(participant):
            connection.held, connection.cut = None, True
            self._testbed.command(do="cut", id=identity)

    def _deliver(self, participant: Participant) -> None:
        assert participant.delivering  # noqa: S101 - it was offered
        op, attempt = participant.delivering["op"], participant.delivering["attempt"]
        refused = op in self._refuse
        self._refuse.discard(op)
        self._record(
            "refuse" if refused else "deliver",
            participant.name,
            op=op,
            attempt=attempt,
            queried_at=participant.queried_at,
        )
        participant.delivering = None
        if not refused:
            participant.unacknowledged.append(participant.queried_at)
        participant.observed.append(f"{op} {refused}")
        self._testbed.answer(participant.source, error=refused)

    def _go_on(self, participant: Participant, number: int) -> None:
        [(identity, connection)] = [item for item in self._of(participant) if item[1].number == number]
        assert connection.held  # noqa: S101 - it was offered
        connection.running, connection.since, connection.statement = True, self._now, connection.held
        connection.held = None
        self._testbed.command(do="go", id=identity)

    def _of(self, participant: Participant) -> list[tuple[int, Connection]]:
        return [item for item in self._connections.items() if item[1].participant == participant.name]

    def _record(self, what: Happened, participant: str, **fields: Any) -> None:
        self.events.append(Event(at=self._now + (ANSWERED if what in ("ok", "fail", "info") else self._part),
                                 what=what, participant=participant, **fields))  # fmt: skip

    def _settle(self) -> None:
        """Wait until every participant offers a step, waits for a lock, or has ended."""
        give_up_at = time.monotonic() + AT_REST_WITHIN_S
        within_s = 0.5
        while True:
            self._receive(within_s)
            restless = [participant for participant in self._participants.values() if not self._at_rest(participant)]
            within_s = 0.5
            if restless:
                if all(self._may_be_blocked(participant) for participant in restless):
                    self._ask_who_is_blocked()
                    within_s = ASK_EVERY_S
            elif self._blocked and not any(self._next_steps()):
                # All wait for one another: PostgreSQL ends one of them.
                self._ask_who_is_blocked()
                within_s = ASK_EVERY_S
            elif (not self._blocked or self._still_blocked()) and self._all_idle():
                return
            if time.monotonic() > give_up_at:
                busy = ", ".join(participant.name for participant in restless)
                raise HarnessError(f"{busy} was not idle within {AT_REST_WITHIN_S:g} s; see participants.log")

    def _at_rest(self, participant: Participant) -> bool:
        connections = self._of(participant)
        if participant.ended:
            return all(identity in self._blocked for identity, _ in connections)
        if any(connection.cut and identity not in self._blocked for identity, connection in connections):
            return False  # PostgreSQL has not rolled back yet
        # The participant may say that it delivers before the proxy says that the query before it is done.
        if any(connection.running and identity not in self._blocked for identity, connection in connections):
            return False
        if participant.delivering:
            return True
        return any(connection.held or identity in self._blocked for identity, connection in connections)

    def _all_idle(self) -> bool:
        """Return True if no participant does anything beside what it waits for, as a library with threads may."""
        if not self._testbed.design.contender:
            return True
        pids = [participant.pid for participant in self._participants.values() if not participant.ended]
        return all(all(map(_is_idle, pids)) and not self._receive(ASK_EVERY_S) for _ in range(IDLE_CHECKS))

    def _may_be_blocked(self, participant: Participant) -> bool:
        return any(connection.running for _, connection in self._of(participant))

    def _still_blocked(self) -> bool:
        before = set(self._blocked)
        self._ask_who_is_blocked()
        return self._blocked == before

    def _ask_who_is_blocked(self) -> None:
        running = {connection.pid: identity for identity, connection in self._connections.items() if connection.running}
        pids = [connection.pid for connection in self._connections.values()]
        found = self._testbed.admin.execute(BLOCKED, [list(running), pids]).fetchall() if running else []
        self._blocked = {running[pid] for (pid,) in found}

    def _receive(self, within_s: float) -> bool:
        """Take what arrives within a while. Returns True if anything did."""
        received = False
        for source, message in self._testbed.messages(within_s):
            if source == "proxy":
                assert message  # noqa: S101 - its end is an error
                self._from_proxy(message)
            else:
                self._from_participant(int(source), message)
            received = True
        return received

    def _from_proxy(self, message: Mapping[str, Any]) -> None:
        identity = message.get("id", 0)
        if message["what"] == "opened" and message["participant"] in self._participants:
            self._connections[identity] = Connection(message["participant"], message["number"])
        connection = self._connections.get(identity)
        if connection is None:
            return
        participant = self._participants[connection.participant]
        match message["what"]:
            case "backend":
                connection.pid = message["pid"]
            case "held":
                if not (participant.ended or participant.killed):
                    connection.held = message["label"]
            case "done":
                participant.observed.append(message["observed"])
                connection.in_transaction = not message["ended"]
                self._executed(participant, connection, identity, committed=message["ended"] and not message["error"])
            case "closed":
                del self._connections[identity]
                self._blocked.discard(identity)

    def _executed(self, participant: Participant, connection: Connection, identity: int, *, committed: bool) -> None:
        freed = identity in self._blocked or participant.name != self._stepping
        self._part = FREED if freed else OWN
        participant.queried_at = self._now + self._part
        if EFFECTS_TABLE_NAME in connection.statement:
            participant.effect_open = True
        if committed and not connection.statement.upper().startswith("ROLLBACK"):
            participant.unacknowledged.clear()
            if participant.effect_open:
                participant.effects.append(participant.queried_at)
                participant.unacknowledged.append(participant.queried_at)
        if not connection.in_transaction:
            participant.effect_open = False
        connection.running = False
        self._blocked.discard(identity)

    def _from_participant(self, source: int, message: Mapping[str, Any] | None) -> None:
        if message and message["what"] == "here":
            self._participants[message["participant"]].source = source
            self._participants[message["participant"]].pid = message["pid"]
            return
        participant = next(
            (participant for participant in self._participants.values() if participant.source == source), None
        )
        if participant is None:  # of an interleaving before
            return
        if message is None:
            participant.ended, participant.delivering = True, None
            return
        match message["what"]:
            case "invoke":
                participant.invoking = message["ops"]
            case "answer":
                for op in participant.invoking:  # it failed before its first step
                    self._record("invoke", participant.name, op=op)
                participant.invoking = ()
                for op in message["ops"]:
                    self._record(message["answer"], participant.name, op=op)
            case "deliver":
                participant.delivering = message
            case "ended":
                participant.error = message["error"]
                if participant.error:
                    self._record("error", participant.name, detail=participant.error)

    def finish(self) -> Ended:
        """Let a worker that is up deliver what is left; return everything that happened."""
        self._now += 1
        self._stepping, self._part = RECOVERY, OWN
        self._testbed.command(do="through")
        effects = {participant.name: list(participant.effects) for participant in self._participants.values()}
        recovery = Participant(RECOVERY)
        self._participants = {RECOVERY: recovery}
        give_up_at = time.monotonic() + RECOVERS_WITHIN_S
        while True:
            recovery.ended, recovery.source = False, -1
            self._testbed.fork(participant=RECOVERY, do="recover", effects=STATEMENTS)
            while not recovery.ended:
                self._receive(0.5)
                if recovery.delivering:
                    recovery.queried_at = self._now
                    self._deliver(recovery)
                if time.monotonic() > give_up_at:
                    raise HarnessError("the worker that recovers did not end; see participants.log")
            stored = {
                pending.op: pending.where
                for pending in self._testbed.design.pending(self._testbed.settings, self._testbed.engine)
            }
            # What failed is tried again after a while, which passes in real time.
            if not stored or not self._scope.failing or time.monotonic() > give_up_at - RECOVERS_WITHIN_S * 0.8:
                break
            time.sleep(0.1)
        for op, worker in self._testbed.admin.execute("SELECT op, worker FROM explored_effects").fetchall():
            at = effects[worker].pop(0) if effects.get(worker) else self._now
            self.events.append(Event(at=at, what="deliver", participant=worker, op=op, queried_at=at))
        return Ended(self.events, self.taken, stored)

    def give_up(self) -> None:
        """End all participants where they are."""
        for participant in self._participants.values():
            if not participant.ended and participant.pid:
                with suppress(ProcessLookupError):
                    os.kill(participant.pid, signal.SIGKILL)
        self._testbed.command(do="through")
        give_up_at = time.monotonic() + AT_REST_WITHIN_S
        while self._connections or not all(participant.ended for participant in self._participants.values()):
            self._receive(0.2)
            if time.monotonic() > give_up_at:
                raise HarnessError("participants that were killed did not end; see participants.log")


def _is_idle(pid: int) -> bool:
    """Return True if every thread of a process waits for something."""
    try:
        states = [
            (thread / "stat").read_bytes().rpartition(b")")[2].split()[0]
            for thread in Path(f"/proc/{pid}/task").iterdir()
        ]
    except OSError:
        return True  # it has ended
    return all(state in (b"S", b"Z") for state in states)
