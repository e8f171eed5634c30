"""A second, slow checker, written directly from the rules, to compare the first with."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from duetime.history import NEVER, Delivery, History, Operation

Interval = tuple[int, int]


def healthy(start: int, end: int, excused: Sequence[Interval]) -> int:
    """The length of [start, end] outside every interval: the sum of the pieces between the ends of intervals."""
    cuts = sorted({start, end, *(min(max(t, start), end) for span in excused for t in span)})
    return sum(b - a for a, b in itertools.pairwise(cuts) if not any(s <= a and b <= e for s, e in excused))


def after(start: int, amount: int, excused: Sequence[Interval]) -> int:
    """The earliest instant t with healthy(start, t) = amount: walk from one end of an interval to the next."""
    instant, left = start, amount
    for cut in sorted({t for span in excused for t in span if t > start}):
        if left == 0:
            return instant
        step = healthy(instant, cut, excused)
        if step >= left:
            return instant + left
        instant, left = cut, left - step
    return instant + left if instant < NEVER or left == 0 else NEVER


class Naive:
    def __init__(self, history: History) -> None:
        profile = history.plan.profile
        self.operations = list(history.operations.values())
        self.deliveries = history.deliveries
        self.closed = history.closed
        self.epsilon = profile.early_tolerance_ns
        self.limit = profile.lateness_limit_ns
        self.phi = profile.in_flight_allowance_ns
        self.faults = [
            (f.only, (f.injected_ns, min(NEVER, f.healed_ns + profile.recovery_budget_ns.get(f.kind, 0))))
            for f in history.faults
        ]
        canaries = history.canaries
        self.restarts = self.closed.restarts if self.closed else ()
        self.kills = history.faults
        self.recovers_within = history.plan.recovers_within_ns
        self.starved = [(c.due_ns, c.at_ns) for c in canaries if c.at_ns - c.due_ns > self.epsilon]

    def excused(self, key: str) -> list[Interval]:
        return [span for only, span in self.faults if not only or any(key.startswith(begin) for begin in only)]

    def end(self, o: Operation) -> int:
        return o.answered_ns if o.answer == "ok" else NEVER

    def surely_before(self, a: Operation, b: Operation) -> bool:
        return self.end(a) < b.invoked_ns

    def ready(self, o: Operation) -> int:
        return max(o.due_ns, self.end(o))

    def deadline(self, o: Operation, *, without_starvation: bool = False) -> int:
        excused = self.excused(o.key) + (self.starved if without_starvation else [])
        return after(self.ready(o), self.limit, excused) if o.answer == "ok" else NEVER

    def superseded(self, o: Operation) -> tuple[int, str]:
        """The instant and the verb; a cancel wins a tie."""
        by = [
            (p.answered_ns, p.verb)
            for p in self.operations
            if p.key == o.key and p.answer == "ok" and self.surely_before(o, p)
        ]
        return min(by, default=(NEVER, ""))

    def required(self, o: Operation, *, without_starvation: bool = False) -> bool:
        return o.answer == "ok" and not any(
            p is not o
            and p.key == o.key
            and p.answer != "fail"
            and not self.surely_before(p, o)
            and p.invoked_ns <= self.deadline(o, without_starvation=without_starvation)
            for p in self.operations
        )

    def states(self) -> dict[str, str]:
        return {o.op: self.state(o) for o in self.operations if o.verb == "schedule"}

    def state(self, o: Operation) -> str:
        delivered = [d for d in self.deliveries if d.op == o.op]
        if delivered:
            return "will_repeat" if self.left_over(o) and self.nobody_acknowledges(delivered) else "delivered"
        if self.required(o):
            if self.comes_later(o):
                return "open"
            over = self.closed and self.closed.at_ns >= self.deadline(o, without_starvation=True)
            return "missed" if over and self.required(o, without_starvation=True) else "open"
        if o.answer == "fail" or self.superseded(o)[0] < NEVER:
            return "none_due"
        return "indeterminate"

    def left_over(self, o: Operation) -> bool:
        """Stored before and after the end of the workers, not given up, and surely the last of its key."""
        if self.closed is None or o.answer == "fail":
            return False
        stored = [(entries or {}).get(o.op) for entries in (self.closed.pending, self.closed.after_stop)]
        others = [p for p in self.operations if p.key == o.key and p is not o and p.answer != "fail"]
        return all(e and e.state != "failed" for e in stored) and all(self.surely_before(p, o) for p in others)

    def nobody_acknowledges(self, delivered: Sequence[Delivery]) -> bool:
        """All workers ended in order, or the process of each delivery had ended before."""
        assert self.closed is not None
        return self.closed.cut_short == () or all(self.gone(d) for d in delivered)

    def gone(self, d: Delivery) -> bool:
        crashed = any(name == d.worker and d.at_ns <= at for at, name, _ in self.restarts)
        return crashed or any(
            f.target in ("all", d.worker) and f.observed_ns < NEVER and d.at_ns < f.heal_ns for f in self.kills
        )

    def comes_later(self, o: Operation) -> bool:
        """The store has it, a fault may have held it up, and the documented recovery ends after the run."""
        if not self.recovers_within or self.closed is None:
            return False
        entry = (self.closed.pending or {}).get(o.op)
        if not (entry.state != "failed" if entry else self.closed.unlisted):
            return False
        held_up = [
            (f.injected_ns, min(f.observed_ns, f.healed_ns)) for f in self.kills if o.key.startswith(f.only or ("",))
        ]
        held_up += [
            (at - 10**9, at)
            for at, _, _ in self.restarts
            if any(f.injected_ns <= at <= f.healed_ns + 15 * 10**9 for f in self.kills)
        ]
        deadline = self.deadline(o)
        return any(start <= deadline and end + self.recovers_within > self.closed.at_ns for start, end in held_up)

    def labels(self) -> dict[int, list[str]]:
        """By line: the label, then the other labels that fit."""
        return {d.line: self.proven(d) for d in self.deliveries}

    def proven(self, d: Delivery) -> list[str]:
        found = self.matching(d)
        unproven = {label: self.unproven(label, d) for label in found}
        violations = [label for label in found if label in ("phantom", "stale", "duplicate", "early", "late")]
        sure = [label for label in violations if not unproven[label]]
        first = sure[0] if sure else unproven[violations[0]] if violations else found[0]
        return [first, *(label for label in found if label != first)]

    def unproven(self, label: str, d: Delivery) -> str:
        o = self.scheduled(d)
        if o is None or label not in ("late", "phantom", "stale"):
            return ""
        if label == "late":
            overlapping = [s for s in self.starved if s[0] <= d.at_ns and self.ready(o) <= s[1]]
            return "unknown_late" if overlapping else ""
        if o.answer == "fail" or d.at_ns < o.invoked_ns:
            return ""
        in_flight = healthy(self.superseded(o)[0], d.at_ns, self.excused(o.key) + self.starved)
        return "" if in_flight > self.phi else "unproven"

    def scheduled(self, d: Delivery) -> Operation | None:
        return next((o for o in self.operations if o.op == d.op and o.verb == "schedule"), None)

    def matching(self, d: Delivery) -> list[str]:
        o, t = self.scheduled(d), d.at_ns
        duplicate = any(e.op == d.op and (e.at_ns, e.line) < (t, d.line) for e in self.deliveries)
        if o is None:
            return ["phantom", "duplicate"] if duplicate else ["phantom"]
        since, verb = self.superseded(o)
        in_flight = healthy(since, t, self.excused(o.key)) <= self.phi if t > since else None
        ready = self.ready(o)
        waited = healthy(ready, t, self.excused(o.key)) if t > ready else 0
        rules = {
            "phantom": o.answer == "fail" or t < o.invoked_ns or (verb == "cancel" and in_flight is False),
            "stale": verb == "schedule" and in_flight is False,
            "duplicate": duplicate,
            "early": t < o.due_ns - self.epsilon,
            "recovered": o.answer == "info",
            "late": waited > self.limit,
            "zombie": in_flight is True,
            "excused": t - ready > self.limit and waited <= self.limit,
        }
        return [label for label, fits in rules.items() if fits] or ["on_time"]
