"""The search for the smallest plan: operations, recipients, faults, workers and times, until nothing can go."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Literal, TypeVar

from duetime.harness.plan.plan import Plan
from duetime.shrink.minimise import minimised
from duetime.shrink.reductions import (
    Subject,
    named_shrunk,
    objections,
    only_with,
    recipient_of,
    recipients,
    removable_seconds,
    subject,
    with_faults,
    with_few,
    with_operations,
    with_recipients,
    with_workers,
    without_seconds,
)
from duetime.shrink.trials import OutOfBudget, Rate, Trials

T = TypeVar("T")
Ending = Literal["minimal", "out of budget", "not seen again"]

MOST_EVENTS = 20
"""The most events among which those with the fewest operations are tried first."""
OFTEN = 2
"""In so many repeats a smaller plan has to fail, if the whole plan fails in as many."""
MOST_GUESSES = 6
"""The most plans with one violated notification that are tried first."""


class Search:
    """Shrinks `whole`, which violated what is owed to the notifications `ops`, as far as the budget of `trials` allows.

    `best` is a plan that fails, at any time, also after an interruption; on_better: called with each new one.
    """

    def __init__(
        self,
        whole: Plan,
        ops: Sequence[str],
        trials: Trials,
        *,
        repeats: int,
        on_better: Callable[[Plan], None] = lambda _plan: None,
    ) -> None:
        self.whole = self.best = named_shrunk(whole)
        self.rate_of_whole = Rate(0, 0)
        self._ops = ops
        self._trials = trials
        self._repeats = repeats
        self._on_better = on_better
        self._accepted = objections(whole)

    def run(self) -> Ending:
        """Search; the result is `best`."""
        try:
            if not self._guess():
                return "not seen again"
            while self._shrink_once():
                pass
        except OutOfBudget:
            return "out of budget"
        return "minimal"

    def confirm(self, runs: int) -> Rate:
        """Run the best plan again; return the rate of these runs, or of all if there is no time for more."""
        known = self._trials.rate(self.best).runs
        try:
            self._trials.measure(self.best, known + runs, step="once more")
        except OutOfBudget:
            known = 0
        return self._trials.rate(self.best, since=known)

    def left_s(self) -> float:
        """About how long it takes to try each single removal from the best plan."""
        plan = self.best
        items = [*plan.operations, *plan.faults, *removable_seconds(plan)]
        single = len(items) + max(0, len(recipients(plan)) - 1) + plan.workers - 1
        return ceil(single * self._repeats / self._trials.at_once) * self._trials.expected_s([plan])

    def _guess(self) -> bool:
        """Find out how often the whole plan fails, and try each violated notification alone. False if none fails."""
        guesses = self._guesses()
        rate = self.rate_of_whole = self._trials.measure(self.whole, self._repeats, guesses, step="the whole plan")
        self._trials.require(max(1, min(OFTEN, rate.shown)))
        found = self._trials.first(guesses, "one notification") if guesses else None
        if found is not None:
            self._take(guesses[found])
        return found is not None or rate.shown > 0

    def _guesses(self) -> list[Plan]:
        """Plans with one violated notification, the boldest first: few recipients, one worker, no idle seconds."""
        known = {subject(each) for each in self.whole.operations}
        users: dict[Subject, list[int]] = {}
        for which, user in filter(None, map(recipient_of, self._ops)):
            users.setdefault(which, []).append(user)
        candidates = [which for which in users if which in known][:MOST_EVENTS]
        alone = [(only_with(self.whole, which), which) for which in candidates]
        alone.sort(key=lambda guess: (len(guess[0].operations), guess[0].judged_until_s()))
        guesses = self._with_one_fault(alone, users)
        for plan, which in alone:
            few = with_few(plan, which, users[which])
            bold = [with_workers(few, 1), with_workers(plan, 1), few, plan]
            guesses += [*(without_seconds(each, removable_seconds(each)) for each in bold), few, plan]
        return self._sensible(guesses[: MOST_GUESSES * 3], {self._trials.hash_of(self.whole)})[:MOST_GUESSES]

    def _with_one_fault(self, alone: Sequence[tuple[Plan, Subject]], users: Mapping[Subject, list[int]]) -> list[Plan]:
        """Of several faults, one is enough most probably: the smallest of `alone` with each of them."""
        if len(self.whole.faults) < 2 or not alone:
            return []
        _, which = alone[0]
        plans = [only_with(with_faults(self.whole, [fault]), which) for fault in self.whole.faults]
        few = [with_workers(with_few(plan, which, users[which]), 1) for plan in plans]
        return [without_seconds(plan, removable_seconds(plan)) for plan in few][: MOST_GUESSES // 2]

    def _shrink_once(self) -> bool:
        """Try each kind of removal; return True if something could be removed."""
        before = self._trials.hash_of(self.best)
        for step in (self._operations, self._recipients, self._faults, self._workers, self._times):
            step(self.best)
        return self._trials.hash_of(self.best) != before

    def _operations(self, plan: Plan) -> None:
        self._reduce("operations", plan.operations, lambda kept: with_operations(plan, kept))

    def _recipients(self, plan: Plan) -> None:
        self._reduce("recipients", recipients(plan), lambda kept: with_recipients(plan, kept))

    def _faults(self, plan: Plan) -> None:
        self._reduce("faults", plan.faults, lambda kept: with_faults(plan, kept))

    def _workers(self, plan: Plan) -> None:
        self._reduce("workers", range(1, plan.workers), lambda kept: with_workers(plan, 1 + len(kept)))

    def _times(self, plan: Plan) -> None:
        # Numbered, because several seconds are before the same time.
        seconds = list(enumerate(removable_seconds(plan)))

        def without(kept: Sequence[tuple[int, float]]) -> Plan:
            return without_seconds(plan, [at_s for number, at_s in seconds if (number, at_s) not in kept])

        self._reduce("times", seconds, without)

    def _reduce(self, step: str, items: Sequence[T], make: Callable[[Sequence[T]], Plan]) -> None:
        """Keep the fewest of `items` with which the plan that `make` makes of them still fails."""

        def first(parts: Sequence[Sequence[T]]) -> int | None:
            made = [make(part) for part in parts]
            plans = self._sensible(made, {self._trials.hash_of(self.best)})
            found = self._trials.first(plans, step) if plans else None
            if found is None:
                return None
            self._take(plans[found])
            return made.index(plans[found])

        minimised(items, first)

    def _sensible(self, plans: Sequence[Plan], known: set[str]) -> list[Plan]:
        """Those of `plans` that make as much sense as the whole plan, each once, without the `known` ones."""
        by_hash = {self._trials.hash_of(plan): plan for plan in plans if objections(plan) <= self._accepted}
        return [plan for plan_hash, plan in by_hash.items() if plan_hash not in known]

    def _take(self, plan: Plan) -> None:
        self.best = plan
        self._on_better(plan)
        bold = [
            with_recipients(plan, []),
            with_faults(plan, []),
            with_workers(plan, 1),
            without_seconds(plan, removable_seconds(plan)),
        ]
        self._trials.spare = self._sensible(bold, {self._trials.hash_of(plan)})
