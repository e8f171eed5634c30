"""A world in which a run takes no time: a rule says which plans fail, and a clock shows what the runs would take."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from duetime.harness.plan import lookup
from duetime.harness.plan.plan import Plan
from duetime.shrink.kinds import Kind, Observed
from duetime.shrink.search import Search
from duetime.shrink.trials import Trials

MISSED = Kind(label="missed", place="lost", covered=True)
AT_ONCE = 5


class FakeRuns:
    """Runs of which `fails` says whether they show `MISSED`; it is called once for each run.

    batches: the plans of each call. stop_after: the number of batches after which Ctrl-C comes.
    """

    def __init__(self, fails: Callable[[Plan], bool | None], *, stop_after: int | None = None) -> None:
        self.fails = fails
        self.batches: list[Sequence[Plan]] = []
        self.now_s = 0.0
        self._stop_after = stop_after

    def __call__(self, plans: Sequence[Plan]) -> list[Observed]:
        if len(self.batches) == self._stop_after:
            raise KeyboardInterrupt
        self.batches.append(plans)
        self.now_s += 10.0 + max(plan.judged_until_s() for plan in plans)
        return [self._observed(self.fails(plan)) for plan in plans]

    @property
    def plans(self) -> list[Plan]:
        return [plan for batch in self.batches for plan in batch]

    def clock(self) -> float:
        return self.now_s

    @staticmethod
    def _observed(failed: bool | None) -> Observed:
        return None if failed is None else frozenset({MISSED} if failed else ())


class Forgetful:
    """Remembers runs in memory only."""

    def __init__(self) -> None:
        self.seen: dict[str, list[Observed]] = {}

    def of(self, plan_hash: str) -> Sequence[Observed]:
        return self.seen.get(plan_hash, [])

    def add(self, plan_hash: str, seen: Observed) -> None:
        self.seen.setdefault(plan_hash, []).append(seen)


def planned(scenario: str) -> Plan:
    return lookup.named(scenario).plan(1)


def searching(
    runs: FakeRuns,
    plan: Plan,
    ops: Sequence[str] = (),
    *,
    shows: int | None = None,
    repeats: int = 3,
    budget_s: float = 1e9,
    memory: Forgetful | None = None,
    on_better: Callable[[Plan], None] = lambda _plan: None,
) -> Search:
    trials = Trials(
        runs,
        MISSED,
        memory or Forgetful(),
        shows=shows,
        repeats=repeats,
        at_once=AT_ONCE,
        budget_s=budget_s,
        clock=runs.clock,
    )
    return Search(plan, ops, trials, repeats=repeats, on_better=on_better)


def due_while_down(plan: Plan) -> bool:
    """A poller without memory: what is due between the kill and the restart is missed."""
    last_due = {each.event: each.due_s for each in plan.operations if each.due_s is not None}
    gone = {each.event for each in plan.operations if each.do == "cancel_event"}
    kills = [fault for fault in plan.faults if fault.kind == "kill"]
    return any(
        kill.inject_s <= due_s <= kill.heal_s
        for kill in kills
        for event, due_s in last_due.items()
        if event not in gone
    )
