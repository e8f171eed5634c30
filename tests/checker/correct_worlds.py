"""Worlds in which a design keeps every promise, in every way that the promises leave open.

A world knows what its clients do not: the instant at which each call took effect. It never asks the checker anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from duetime.history import NEVER, Canary, Closed, Delivery, History, Operation, RecordedFault, RecordedPlan
from duetime.history.damage import Damage
from tests.checker.naive_checker import Interval, after, healthy

S = 1_000_000_000
EPSILON, LIMIT, PHI = S // 20, 2 * S, S // 2
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
class World:
    """frozen: when nothing need move: faults and their recovery, and the harness's own bad moments."""

    operations: tuple[Operation, ...]
    deliveries: tuple[Delivery, ...]
    faults: tuple[RecordedFault, ...]
    canaries: tuple[Canary, ...]
    frozen: tuple[Interval, ...]
    closed_ns: int | None

    def history(self, plan: RecordedPlan = PLAN) -> History:
        closed = None if self.closed_ns is None else Closed(self.closed_ns, {}, workers_alive=True)
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
        """What the files of this world held at `instant`."""
        return World(
            operations=tuple(_known(o, instant) for o in self.operations if o.invoked_ns <= instant),
            deliveries=tuple(d for d in self.deliveries if d.at_ns <= instant),
            faults=tuple(
                replace(f, healed_ns=f.healed_ns if f.healed_ns <= instant else NEVER)
                for f in self.faults
                if f.injected_ns <= instant
            ),
            canaries=tuple(c for c in self.canaries if c.at_ns <= instant),
            frozen=self.frozen,
            closed_ns=instant if closed else None,
        )


def _known(o: Operation, instant: int) -> Operation:
    return o if o.answered_ns <= instant else replace(o, answer="info", answered_ns=NEVER, answered_line=0)


def correct_world(random: Random, *, starved: bool = False) -> World:
    """A world of a few keys; `starved` ones also have moments in which the harness itself stood still."""
    faults = tuple(_fault(random, n) for n in range(random.choice([0, 1, 1, 2])))
    frozen = [(f.injected_ns, f.healed_ns + RECOVERY[f.kind]) for f in faults]
    canaries: tuple[Canary, ...] = (Canary(0, 0, 0),)
    if starved:
        canaries = tuple(_canary(random, n) for n in range(random.randrange(1, 3)))
        frozen += [(c.due_ns, c.at_ns) for c in canaries if c.at_ns - c.due_ns > EPSILON]
    operations: list[Operation] = []
    deliveries: list[Delivery] = []
    for key in ("a", "b:1/x")[: random.choice([1, 1, 2])]:
        on_key = _operations(random, key)
        operations += on_key
        deliveries += _deliveries(random, on_key, frozen)
    random.shuffle(deliveries)
    ends = [after(max(o.due_ns, o.end_ns), LIMIT, frozen) for o in operations if o.answer == "ok"]
    ends += [d.at_ns for d in deliveries]
    closed_ns = max(ends, default=0) + random.choice([0, S])
    return World(tuple(operations), tuple(deliveries), faults, canaries, tuple(frozen), closed_ns)


def _fault(random: Random, n: int) -> RecordedFault:
    begun = random.randrange(12 * S)
    kind = random.choice(list(RECOVERY))
    return RecordedFault(f"f{n}", kind, "worker-1", begun, begun + random.randrange(6 * S), phases={"inject": n + 1})


def _canary(random: Random, n: int) -> Canary:
    due = n * 5 * S + random.randrange(4 * S)
    return Canary(n, due, due + random.choice([0, EPSILON, EPSILON + 1, S, 3 * S]))


def _operations(random: Random, key: str) -> list[Operation]:
    """Several writers on one key, revisions in the order of their calls, which may overlap."""
    found, begun = [], random.randrange(S)
    for revision in range(1, random.choice([1, 2, 2, 3, 4]) + 1):
        answer = random.choices(["ok", "info", "fail"], [8, 1, 1])[0]
        verb = "cancel" if revision > 1 and random.random() < 0.4 else "schedule"
        answered = begun + random.choice([0, 1, random.randrange(S), random.randrange(3 * S)])
        if answer == "info" and random.random() < 0.5:
            answered = NEVER
        due = begun + random.randrange(-S, 6 * S) if verb == "schedule" else 0
        found.append(
            Operation(f"{key}/{revision}", key, revision, verb, due, begun, 2 * revision - 1, answer, answered,
                      2 * revision if answered < NEVER else 0)
        )  # fmt: skip
        begun += random.choice([0, 1, random.randrange(S), random.randrange(4 * S), random.randrange(9 * S)])
    return found


def _deliveries(random: Random, operations: Sequence[Operation], frozen: Sequence[Interval]) -> list[Delivery]:
    """Decide when each operation took effect, and let a worker find what was current when it looked."""
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
        looked, at = _attempt(random, o, since, frozen)
        if looked < min(replaced, default=NEVER):
            found.append(Delivery(at, 0, o.op, random.choice(["worker-1", "worker-2"]), 1))
    return found


def _effect(random: Random, o: Operation) -> int:
    if o.answer == "fail" or (o.answer == "info" and random.random() < 0.4):
        return NEVER
    if o.answer == "info":
        return o.invoked_ns + random.choice([0, random.randrange(S), random.randrange(20 * S)])
    return random.choice([o.invoked_ns, o.answered_ns, random.randint(o.invoked_ns, o.answered_ns)])


def _attempt(random: Random, o: Operation, since: int, frozen: Sequence[Interval]) -> tuple[int, int]:
    """When a worker looks at the store, and when the gateway hears of it: at most the allowance later, healthily."""
    earliest = max(o.due_ns - random.choice([0, EPSILON]), since)
    if o.answer == "ok":
        last = after(max(o.due_ns, o.answered_ns), LIMIT, frozen)
        looked = random.choice([earliest, random.randint(earliest, last)])
    else:
        last, looked = NEVER, earliest + random.randrange(10 * S)
    landed = after(looked, random.choice([0, PHI, random.randrange(PHI)]), frozen)
    if random.random() < 0.3:
        landed = _frozen_until(landed, frozen)
    return looked, min(last, landed)


def _frozen_until(instant: int, frozen: Sequence[Interval]) -> int:
    """A worker that stands still inside a fault may wake at its very end."""
    return max(
        [end for start, end in frozen if start <= instant <= end and healthy(start, end, frozen) == 0] + [instant]
    )
