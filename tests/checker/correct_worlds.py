"""Random worlds in which a design breaks no rule.

A world knows, unlike its clients, when each call took effect. It uses no code of the checker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from duetime.history import (
    NEVER,
    Canary,
    Closed,
    Delivery,
    History,
    Operation,
    RecordedFault,
    RecordedPlan,
    StoredEntry,
)
from duetime.history.damage import Damage
from duetime.history.records import Answer, Verb
from tests.checker.naive_checker import Interval, after, healthy

S = 1_000_000_000
EPSILON, LIMIT, PHI = S // 20, 2 * S, S // 2
ANSWERS: Sequence[Answer] = ("ok", "info", "fail")
RECOVERY = {"kill": S, "stop": 0, "partition": 3 * S}
PLAN = RecordedPlan.from_json(
    {
        "profile": {
            "early_tolerance_s": 0.05,
            "lateness_limit_s": 2.0,
            "in_flight_allowance_s": 0.5,
            "recovery_budget_s": {kind: budget / S for kind, budget in RECOVERY.items()},
        }
    }
)


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store held before and after the end of the workers. cut_short: those that the harness killed."""

    before: Mapping[str, StoredEntry]
    after: Mapping[str, StoredEntry]
    cut_short: tuple[str, ...] = ()

    def closed(self, at_ns: int) -> Closed:
        return Closed(at_ns, self.before, workers_alive=True, after_stop=self.after, cut_short=self.cut_short)


NOTHING_STORED = Stored({}, {})


@dataclass(frozen=True, slots=True)
class World:
    """excused: the periods in which no progress is required: faults with their recovery, and starvation."""

    operations: tuple[Operation, ...]
    deliveries: tuple[Delivery, ...]
    faults: tuple[RecordedFault, ...]
    canaries: tuple[Canary, ...]
    excused: tuple[Interval, ...]
    closed_ns: int | None
    stored: Stored = NOTHING_STORED

    def history(self, plan: RecordedPlan = PLAN) -> History:
        closed = None if self.closed_ns is None else self.stored.closed(self.closed_ns)
        deliveries = sorted(d._replace(line=line) for line, d in enumerate(self.deliveries, start=1))
        return History(
            plan=plan,
            operations={o.op: o for o in self.operations},
            deliveries=deliveries,
            canaries=list(self.canaries),
            faults=list(self.faults),
            clock=[(0, 0), (S, S)],
            closed=closed,
            damage=Damage(),
        )

    def until(self, instant: int, *, closed: bool) -> World:
        """The records of this world at `instant`."""
        return World(
            operations=tuple(_as_seen_at(o, instant) for o in self.operations if o.invoked_ns <= instant),
            deliveries=tuple(d for d in self.deliveries if d.at_ns <= instant),
            faults=tuple(
                replace(f, healed_ns=f.healed_ns if f.healed_ns <= instant else NEVER)
                for f in self.faults
                if f.injected_ns <= instant
            ),
            canaries=tuple(c for c in self.canaries if c.at_ns <= instant),
            excused=self.excused,
            closed_ns=instant if closed else None,
        )


def _as_seen_at(o: Operation, instant: int) -> Operation:
    return o if o.answered_ns <= instant else replace(o, answer="info", answered_ns=NEVER, answered_line=0)


def correct_world(random: Random, *, starved: bool = False) -> World:
    """A world of a few keys; if `starved`, also with periods in which the harness was starved."""
    faults = tuple(_fault(random, n) for n in range(random.choice([0, 1, 1, 2])))
    excused = [(f.injected_ns, f.healed_ns + RECOVERY[f.kind]) for f in faults]
    canaries: tuple[Canary, ...] = (Canary(0, 0, 0),)
    if starved:
        canaries = tuple(_canary(random, n) for n in range(random.randrange(1, 3)))
        excused += [(c.due_ns, c.at_ns) for c in canaries if c.at_ns - c.due_ns > EPSILON]
    operations: list[Operation] = []
    deliveries: list[Delivery] = []
    for key in ("a", "b:1/x")[: random.choice([1, 1, 2])]:
        on_key = _operations(random, key)
        operations += on_key
        deliveries += _deliveries(random, on_key, excused)
    random.shuffle(deliveries)
    ends = [after(max(o.due_ns, o.end_ns), LIMIT, excused) for o in operations if o.answer == "ok"]
    ends += [d.at_ns for d in deliveries]
    closed_ns = max(ends, default=0) + random.choice([0, S])
    stored = _stored(random, operations, deliveries)
    return World(tuple(operations), tuple(deliveries), faults, canaries, tuple(excused), closed_ns, stored)


def _stored(random: Random, operations: Sequence[Operation], deliveries: Sequence[Delivery]) -> Stored:
    """The rest of the store: what is given up or superseded, and what a worker is just acknowledging."""
    before, after = {}, {}
    cut_short = random.choice([(), ("worker-2",)])
    delivered = {d.op: d.worker for d in deliveries}
    entries = [StoredEntry("row", "held", 60.0), StoredEntry("row", "held"), StoredEntry("row", "waiting")]
    for o in operations:
        superseded = any(p.key == o.key and p.invoked_ns > o.end_ns and p.answer == "ok" for p in operations)
        entry = StoredEntry("row", "failed") if random.random() < 0.3 else random.choice(entries)
        if o.op not in delivered or superseded or entry.state == "failed":
            if random.random() < 0.3:
                before[o.op] = after[o.op] = entry
        elif random.random() < 0.3:
            # No fault hits worker-2. It acknowledges after the first look, unless the harness kills it meanwhile.
            before[o.op] = entry
            if cut_short and delivered[o.op] == "worker-2":
                after[o.op] = entry
    return Stored(before, after, cut_short)


def _fault(random: Random, n: int) -> RecordedFault:
    injected = random.randrange(12 * S)
    kind = random.choice(list(RECOVERY))
    healed = injected + random.randrange(6 * S)
    return RecordedFault(
        f"f{n}", kind, "worker-1", injected, healed, phases={"inject": n + 1}, observed_ns=injected, heal_ns=healed
    )


def _canary(random: Random, n: int) -> Canary:
    due = n * 5 * S + random.randrange(4 * S)
    return Canary(n, due, due + random.choice([0, EPSILON, EPSILON + 1, S, 3 * S]))


def _operations(random: Random, key: str) -> list[Operation]:
    """Calls of several writers on one key, which may overlap; the revisions are in their order."""
    found, invoked = [], random.randrange(S)
    for revision in range(1, random.choice([1, 2, 2, 3, 4]) + 1):
        answer = random.choices(ANSWERS, [8, 1, 1])[0]
        verb: Verb = "cancel" if revision > 1 and random.random() < 0.4 else "schedule"
        answered = invoked + random.choice([0, 1, random.randrange(S), random.randrange(3 * S)])
        if answer == "info" and random.random() < 0.5:
            answered = NEVER
        due = invoked + random.randrange(-S, 6 * S) if verb == "schedule" else 0
        found.append(
            Operation(f"{key}/{revision}", key, revision, verb, due, invoked, 2 * revision - 1, answer, answered,
                      2 * revision if answered < NEVER else 0)
        )  # fmt: skip
        invoked += random.choice([0, 1, random.randrange(S), random.randrange(4 * S), random.randrange(9 * S)])
    return found


def _deliveries(random: Random, operations: Sequence[Operation], excused: Sequence[Interval]) -> list[Delivery]:
    """Choose when each operation takes effect, and deliver what is current when a worker queries the store."""
    effects = {o.revision: _effect(random, o) for o in operations}
    newest_wins = random.random() < 0.5
    found = []
    for o in operations:
        since = effects[o.revision]
        others = [(effects[p.revision], p.revision) for p in operations if p is not o]
        replaced = [at for at, revision in others if since <= at < NEVER and (revision > o.revision or not newest_wins)]
        outdated = newest_wins and any(at <= since and revision > o.revision for at, revision in others)
        if o.verb == "cancel" or since == NEVER or outdated:
            continue
        queried, at = _attempt(random, o, since, excused)
        if queried < min(replaced, default=NEVER):
            found.append(Delivery(at, 0, o.op, random.choice(["worker-1", "worker-2"]), 1))
    return found


def _effect(random: Random, o: Operation) -> int:
    if o.answer == "fail" or (o.answer == "info" and random.random() < 0.4):
        return NEVER
    if o.answer == "info":
        return o.invoked_ns + random.choice([0, random.randrange(S), random.randrange(20 * S)])
    return random.choice([o.invoked_ns, o.answered_ns, random.randint(o.invoked_ns, o.answered_ns)])


def _attempt(random: Random, o: Operation, since: int, excused: Sequence[Interval]) -> tuple[int, int]:
    """When a worker queries the store, and when the gateway is called: within the allowance, in healthy time."""
    earliest = max(o.due_ns - random.choice([0, EPSILON]), since)
    if o.answer == "ok":
        last = after(max(o.due_ns, o.answered_ns), LIMIT, excused)
        queried = random.choice([earliest, random.randint(earliest, last)])
    else:
        last, queried = NEVER, earliest + random.randrange(10 * S)
    arrived = after(queried, random.choice([0, PHI, random.randrange(PHI)]), excused)
    if random.random() < 0.3:
        arrived = _end_of_excuse(arrived, excused)
    return queried, min(last, arrived)


def _end_of_excuse(instant: int, excused: Sequence[Interval]) -> int:
    """A worker paused by a fault may continue at the end of the excused period."""
    return max(
        [end for start, end in excused if start <= instant <= end and healthy(start, end, excused) == 0] + [instant]
    )
