"""One interleaving, carried out: participants that stand still, until the search lets one of them take a step."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from duetime.errors import HarnessError
from duetime.explore.actors import notification
from duetime.explore.participants import Actor, Connection, Ended, Event, Happened
from duetime.explore.scopes import EFFECTS, STATEMENTS, Scope, call_to_json
from duetime.explore.stage import RECOVERY, Stage
from duetime.explore.state import state_of
from duetime.explore.steps import Step

AT_REST_WITHIN_S = 20.0
"""Longer than the longest wait for a lock. A participant that is busy for longer hangs."""
ASK_EVERY_S = 0.001
BLOCKED = "SELECT pid FROM unnest(%s::int[]) AS pid WHERE pg_isolation_test_session_is_blocked(pid, %s)"
RECOVERS_WITHIN_S = 30.0
ASLEEP_FOR = 4
"""Looks, a millisecond apart, at a library's threads."""
OWN, FREED, ANSWERED = 0.0, 0.7, 0.5
"""Parts of a step: its own statement is executed, then its call may return, then what waited for it goes on."""


class World:
    """See `duetime.explore.search.World`."""

    def __init__(self, stage: Stage, scope: Scope) -> None:
        self._stage, self._scope = stage, scope
        self._actors = {name: Actor(name) for name in scope.actors()}
        self._connections: dict[int, Connection] = {}
        self._blocked: set[int] = set()
        self._kills_left, self._cuts_left = scope.crashes, scope.cuts
        self._refuse = set(scope.failing)
        self._now = 0
        self._part = OWN
        self._stepping = ""
        self.events: list[Event] = []
        self.taken: list[Step] = []
        self._due_at = (datetime.now(UTC) - timedelta(minutes=10)).isoformat()
        stage.reset()
        self._schedule_before()
        stage.command(do="step")
        for name in self._actors:
            stage.fork(**self._task(name))
        self._settle()

    def _schedule_before(self) -> None:
        calls = [call_to_json(call, due_at=self._due_at) for call in self._scope.before]
        if self._stage.design.contender:
            self._call_in_its_environment(calls)
        else:
            scheduler = self._stage.design.scheduler(self._stage.settings)
            with Session(self._stage.engine) as session:
                scheduler.schedule_many(list(map(notification, calls)), session=session)
                session.commit()
        for call in self._scope.before:
            self._record("invoke", "before", op=call.op)
            self._record("ok", "before", op=call.op)

    def _call_in_its_environment(self, calls: Sequence[Mapping[str, Any]]) -> None:
        """Schedule with a library that only its own environment has."""
        self._stage.command(do="through")
        caller = Actor(RECOVERY)
        actors, self._actors = self._actors, {RECOVERY: caller}
        self._stage.fork(actor=RECOVERY, do="call", transactions=[calls])
        give_up_at = time.monotonic() + AT_REST_WITHIN_S
        while not caller.ended:
            self._receive(0.5)
            if time.monotonic() > give_up_at:
                raise HarnessError("the first calls did not return; see participants.log")
        if not any(event.what == "ok" for event in self.events):
            raise HarnessError(f"the first calls failed: {caller.error or 'see participants.log'}")
        self.events.clear()
        self._actors = actors

    def _task(self, name: str) -> dict[str, Any]:
        if name.startswith("app-"):
            transactions = self._scope.applications[int(name.removeprefix("app-")) - 1]
            calls = [[call_to_json(call, due_at=self._due_at) for call in calls] for calls in transactions]
            return {"actor": name, "do": "call", "transactions": calls}
        return {"actor": name, "do": "work", "effects": STATEMENTS, "named": EFFECTS}

    def choices(self) -> Sequence[Step]:
        return [*self._next_steps(), *self._faults()]

    def state(self) -> str:
        waiting = [self._connections[identity] for identity in self._blocked]
        return state_of(self._actors, self.events, waiting, self._stage.contents(), alike=self._scope.worker_names())

    def _next_steps(self) -> Iterator[Step]:
        for actor in self._actors.values():
            if actor.delivering:
                label = f"delivers {actor.delivering['op']}"
                if actor.delivering["op"] in self._refuse:
                    label += ", refused"
                yield Step(actor.name, 0, actor.steps, "delivery", label)
            for _, connection in sorted(self._of(actor), key=lambda item: item[1].number):
                if connection.held:
                    yield Step(actor.name, connection.number, actor.steps, "statement", connection.held)

    def _faults(self) -> Iterator[Step]:
        for name in self._scope.worker_names():
            actor = self._actors[name]
            if not actor.ended and actor.pid:
                if self._kills_left:
                    yield Step(name, 0, actor.steps, "kill", "is killed")
                if self._cuts_left and self._of(actor):
                    yield Step(name, 0, actor.steps, "cut", "loses its connection")

    def take(self, step: Step) -> None:
        self._now += 1
        self._part, self._stepping = OWN, step.actor
        self.taken.append(step)
        actor = self._actors[step.actor]
        actor.steps += 1
        for op in actor.invoking:
            self._record("invoke", actor.name, op=op)
        actor.invoking = ()
        if step.kind == "kill":
            self._kill(actor)
        elif step.kind == "cut":
            self._cut(actor)
        elif step.kind == "delivery":
            self._deliver(actor)
        else:
            self._go_on(actor, step.session)
        self._settle()

    def _kill(self, actor: Actor) -> None:
        self._kills_left -= 1
        self._record("kill", actor.name, since=min(actor.unacknowledged, default=self._now))
        os.kill(actor.pid, signal.SIGKILL)
        actor.delivering, actor.killed = None, True
        for _, connection in self._of(actor):
            connection.held = None

    def _cut(self, actor: Actor) -> None:
        """The worker notices it when it next uses the connection. A delivery that it has begun takes place."""
        self._cuts_left -= 1
        self._record("cut", actor.name, since=min([*actor.unacknowledged, actor.looked_at]))
        actor.cut = True
        for identity, connection in self._of(actor):
            connection.held, connection.cut = None, True
            self._stage.command(do="cut", id=identity)

    def _deliver(self, actor: Actor) -> None:
        assert actor.delivering  # noqa: S101 - it was offered
        op, attempt = actor.delivering["op"], actor.delivering["attempt"]
        refused = op in self._refuse
        self._refuse.discard(op)
        self._record("refuse" if refused else "deliver", actor.name, op=op, attempt=attempt, looked_at=actor.looked_at)
        actor.delivering = None
        if not refused:
            actor.unacknowledged.append(actor.looked_at)
        actor.saw.append(f"{op} {refused}")
        self._stage.answer(actor.source, error=refused)

    def _go_on(self, actor: Actor, number: int) -> None:
        [(identity, connection)] = [item for item in self._of(actor) if item[1].number == number]
        assert connection.held  # noqa: S101 - it was offered
        connection.running, connection.since, connection.held = True, self._now, None
        self._stage.command(do="go", id=identity)

    def _of(self, actor: Actor) -> list[tuple[int, Connection]]:
        return [item for item in self._connections.items() if item[1].actor == actor.name]

    def _record(self, what: Happened, actor: str, **fields: Any) -> None:
        self.events.append(Event(at=self._now + (ANSWERED if what in ("ok", "fail", "info") else self._part),
                                 what=what, actor=actor, **fields))  # fmt: skip

    def _settle(self) -> None:
        """Wait until every participant offers a step, waits for a lock, or has ended."""
        give_up_at = time.monotonic() + AT_REST_WITHIN_S
        within_s = 0.5
        while True:
            self._receive(within_s)
            restless = [actor for actor in self._actors.values() if not self._at_rest(actor)]
            within_s = 0.5
            if restless:
                if all(self._may_be_blocked(actor) for actor in restless):
                    self._ask_who_is_blocked()
                    within_s = ASK_EVERY_S
            elif self._blocked and not any(self._next_steps()):
                # All wait for one another: PostgreSQL ends one of them.
                self._ask_who_is_blocked()
                within_s = ASK_EVERY_S
            elif (not self._blocked or self._still_blocked()) and self._all_asleep():
                return
            if time.monotonic() > give_up_at:
                busy = ", ".join(actor.name for actor in restless)
                raise HarnessError(f"{busy} did not stand still within {AT_REST_WITHIN_S:g} s; see participants.log")

    def _at_rest(self, actor: Actor) -> bool:
        connections = self._of(actor)
        if actor.ended:
            return all(identity in self._blocked for identity, _ in connections)
        if any(connection.cut and identity not in self._blocked for identity, connection in connections):
            return False  # PostgreSQL has not rolled back yet
        if actor.delivering:
            return True
        return any(connection.held or identity in self._blocked for identity, connection in connections)

    def _all_asleep(self) -> bool:
        """Return True if no participant does anything beside what it waits for, as a library with threads may."""
        if not self._stage.design.contender:
            return True
        pids = [actor.pid for actor in self._actors.values() if not actor.ended]
        return all(all(map(_is_asleep, pids)) and not self._receive(ASK_EVERY_S) for _ in range(ASLEEP_FOR))

    def _may_be_blocked(self, actor: Actor) -> bool:
        return any(connection.running for _, connection in self._of(actor))

    def _still_blocked(self) -> bool:
        before = set(self._blocked)
        self._ask_who_is_blocked()
        return self._blocked == before

    def _ask_who_is_blocked(self) -> None:
        running = {connection.pid: identity for identity, connection in self._connections.items() if connection.running}
        pids = [connection.pid for connection in self._connections.values()]
        found = self._stage.admin.execute(BLOCKED, [list(running), pids]).fetchall() if running else []
        self._blocked = {running[pid] for (pid,) in found}

    def _receive(self, within_s: float) -> bool:
        """Take what arrives within a while. Returns True if anything did."""
        received = False
        for source, message in self._stage.messages(within_s):
            if source == "proxy":
                assert message  # noqa: S101 - its end is an error
                self._from_proxy(message)
            else:
                self._from_actor(int(source), message)
            received = True
        return received

    def _from_proxy(self, message: Mapping[str, Any]) -> None:
        identity = message.get("id", 0)
        if message["what"] == "opened" and message["actor"] in self._actors:
            self._connections[identity] = Connection(message["actor"], message["number"])
        connection = self._connections.get(identity)
        if connection is None:
            return
        actor = self._actors[connection.actor]
        match message["what"]:
            case "backend":
                connection.pid = message["pid"]
            case "held":
                if not (actor.ended or actor.killed):
                    connection.held = message["label"]
            case "done":
                actor.saw.append(message["saw"])
                self._executed(actor, connection, identity, committed=message["ended"] and not message["error"])
            case "closed":
                del self._connections[identity]
                self._blocked.discard(identity)

    def _executed(self, actor: Actor, connection: Connection, identity: int, *, committed: bool) -> None:
        freed = identity in self._blocked or actor.name != self._stepping
        self._part = FREED if freed else OWN
        actor.looked_at = self._now + self._part
        if committed:
            actor.unacknowledged.clear()
        connection.running = False
        self._blocked.discard(identity)

    def _from_actor(self, source: int, message: Mapping[str, Any] | None) -> None:
        if message and message["what"] == "here":
            self._actors[message["actor"]].source = source
            self._actors[message["actor"]].pid = message["pid"]
            return
        actor = next((actor for actor in self._actors.values() if actor.source == source), None)
        if actor is None:  # of an interleaving before
            return
        if message is None:
            actor.ended, actor.delivering = True, None
            return
        match message["what"]:
            case "invoke":
                actor.invoking = message["ops"]
            case "answer":
                for op in actor.invoking:  # it failed before its first step
                    self._record("invoke", actor.name, op=op)
                actor.invoking = ()
                for op in message["ops"]:
                    self._record(message["answer"], actor.name, op=op)
            case "deliver":
                actor.delivering = message
            case "ended":
                actor.error = message["error"]
                if actor.error:
                    self._record("error", actor.name, detail=actor.error)

    def finish(self) -> Ended:
        """Let a worker that is up deliver what is left; return everything that happened."""
        self._now += 1
        self._stepping, self._part = RECOVERY, OWN
        self._stage.command(do="through")
        recovery = Actor(RECOVERY)
        self._actors = {RECOVERY: recovery}
        give_up_at = time.monotonic() + RECOVERS_WITHIN_S
        while True:
            recovery.ended, recovery.source = False, -1
            self._stage.fork(actor=RECOVERY, do="recover", effects=STATEMENTS, named=EFFECTS)
            while not recovery.ended:
                self._receive(0.5)
                if recovery.delivering:
                    recovery.looked_at = self._now
                    self._deliver(recovery)
                if time.monotonic() > give_up_at:
                    raise HarnessError("the worker that recovers did not end; see participants.log")
            stored = {
                pending.op: pending.where
                for pending in self._stage.design.pending(self._stage.settings, self._stage.engine)
            }
            # What failed is tried again after a while, which passes in real time.
            if not stored or not self._scope.failing or time.monotonic() > give_up_at - RECOVERS_WITHIN_S * 0.8:
                break
            time.sleep(0.1)
        for op, worker in self._stage.admin.execute("SELECT op, worker FROM explored_effects").fetchall():
            self.events.append(Event(at=self._now, what="deliver", actor=worker, op=op, looked_at=self._now))
        return Ended(self.events, self.taken, stored)

    def give_up(self) -> None:
        """End all participants where they are."""
        for actor in self._actors.values():
            if not actor.ended and actor.pid:
                with suppress(ProcessLookupError):
                    os.kill(actor.pid, signal.SIGKILL)
        self._stage.command(do="through")
        give_up_at = time.monotonic() + AT_REST_WITHIN_S
        while self._connections or not all(actor.ended for actor in self._actors.values()):
            self._receive(0.2)
            if time.monotonic() > give_up_at:
                raise HarnessError("participants that were killed did not end; see participants.log")


def _is_asleep(pid: int) -> bool:
    """Return True if every thread of a process waits for something."""
    try:
        states = [
            (thread / "stat").read_bytes().rpartition(b")")[2].split()[0]
            for thread in Path(f"/proc/{pid}/task").iterdir()
        ]
    except OSError:
        return True  # it has ended
    return all(state in (b"S", b"Z") for state in states)
