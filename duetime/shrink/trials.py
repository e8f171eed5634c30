"""Runs plans several times, side by side, until it is decided which of them still fail in the same way."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from duetime.harness.plan.plan import Plan
from duetime.shrink.kinds import Kind, Observed

OVERHEAD_S = 12.0
"""To start the processes of a batch and to close its runs, until a batch has been measured."""

RunAll = Callable[[Sequence[Plan]], Sequence[Observed]]
"""Runs plans side by side, the same perhaps several times."""


class OutOfBudget(Exception):
    """The time is over, or would be before the next runs are."""


class Memory(Protocol):
    """What is known of earlier runs, by the hash of the plan."""

    def of(self, plan_hash: str) -> Sequence[Observed]: ...

    def add(self, plan_hash: str, seen: Observed) -> None: ...


@dataclass(frozen=True, slots=True)
class Rate:
    """In how many of the runs of a plan the violation showed. unknown: how many of them proved nothing."""

    shown: int
    runs: int
    unknown: int = 0

    def __str__(self) -> str:
        unknown = f", {self.unknown} of them unknown" if self.unknown else ""
        return f"{self.shown} of {self.runs} {'run' if self.runs == 1 else 'runs'}{unknown}"


class Trials:
    """Decides whether a plan shows violations of `kind`: in at least `shows` of `repeats` runs.

    A run that proves nothing does not show it. at_once: how many runs side by side. shows: None for what `require`
    sets. Plans whose runs are in `memory` are not run again.
    """

    def __init__(
        self,
        run_all: RunAll,
        kind: Kind,
        memory: Memory,
        *,
        shows: int | None,
        repeats: int,
        at_once: int,
        budget_s: float,
        clock: Callable[[], float] = time.monotonic,
        before_batch: Callable[[str, int, float], None] = lambda *_: None,
    ) -> None:
        """before_batch: called with the name of the step, the number of runs, and about how many seconds they take."""
        self._run_all = run_all
        self._kind = kind
        self._memory = memory
        self._shows = shows
        self._repeats = repeats
        self.at_once = at_once
        self._clock = clock
        self._ends_at = clock() + budget_s
        self._before_batch = before_batch
        self._overhead_s = OVERHEAD_S
        self.spare: Sequence[Plan] = ()
        """What is asked for next if all that is asked for now fails: run in the slots that are left."""
        self._hashed: dict[int, tuple[Plan, str]] = {}
        """By identity; with the plan, so that no other one gets its identity."""
        self.runs = 0
        """How many have been made, without those that were known."""

    @property
    def required(self) -> int:
        return self._shows or 1

    def require(self, shows: int) -> None:
        """Set in how many runs the violation has to show, unless that was chosen from the beginning."""
        self._shows = self._shows or shows

    def rate(self, plan: Plan, *, since: int = 0) -> Rate:
        """The rate of `plan` over all its runs, or over those after the first `since`."""
        seen = self._memory.of(self.hash_of(plan))[since:]
        return Rate(sum(map(self._kind.is_shown_by, seen)), len(seen), sum(one is None for one in seen))

    def first(self, plans: Sequence[Plan], step: str) -> int | None:
        """The index of the first of `plans` that is decided to show the violation; None if none of them does.

        Raises:
            OutOfBudget: there is no time to decide it.
        """
        while True:
            if (found := next((i for i, plan in enumerate(plans) if self._holds(plan)), None)) is not None:
                return found
            open_ = [plan for plan in plans if not self._fails(plan)]
            if not open_:
                return None
            asked = self._shared_out(open_, self.at_once)
            later = [plan for plan in self.spare if not (self._holds(plan) or self._fails(plan) or plan in open_)]
            self._run([*asked, *self._shared_out(later, self.at_once - len(asked))], step)

    def measure(self, plan: Plan, runs: int, beside: Sequence[Plan] = (), *, step: str) -> Rate:
        """Run `plan` until `runs` of its runs are known, and let each of `beside` run once in the slots that are left.

        Raises:
            OutOfBudget: there is no time for that.
        """
        others = [other for other in beside if not self._memory.of(self.hash_of(other))]
        while (left := runs - self.rate(plan).runs) > 0:
            now = [plan] * min(left, self.at_once)
            free = self.at_once - len(now)
            self._run([*now, *others[:free]], step)
            others = others[free:]
        return self.rate(plan)

    def hash_of(self, plan: Plan) -> str:
        """The hash of `plan`, which takes a while to compute and is asked for often."""
        if id(plan) not in self._hashed:
            self._hashed[id(plan)] = plan, plan.hash()
        return self._hashed[id(plan)][1]

    def expected_s(self, plans: Sequence[Plan]) -> float:
        """About how long it takes to run `plans` side by side."""
        return max(plan.judged_until_s() for plan in plans) + self._overhead_s

    def _holds(self, plan: Plan) -> bool:
        return self.rate(plan).shown >= self.required

    def _fails(self, plan: Plan) -> bool:
        rate = self.rate(plan)
        return rate.runs - rate.shown > self._repeats - self.required

    def _shared_out(self, plans: Sequence[Plan], slots: int) -> list[Plan]:
        """A run of each, those that showed it already first, and again of each until the slots are full."""
        in_order = sorted(plans, key=lambda plan: -self.rate(plan).shown)
        left = {self.hash_of(plan): self._repeats - self.rate(plan).runs for plan in in_order}
        shared: list[Plan] = []
        while any(left.values()) and len(shared) < slots:
            for plan in in_order:
                if left[self.hash_of(plan)] > 0 and len(shared) < slots:
                    left[self.hash_of(plan)] -= 1
                    shared.append(plan)
        return shared

    def _run(self, plans: Sequence[Plan], step: str) -> None:
        expected_s = self.expected_s(plans)
        started = self._clock()
        if started + expected_s > self._ends_at:
            raise OutOfBudget
        self._before_batch(step, len(plans), expected_s)
        for plan, seen in zip(plans, self._run_all(plans), strict=True):
            self._memory.add(self.hash_of(plan), seen)
        self.runs += len(plans)
        taken_s = self._clock() - started - (expected_s - self._overhead_s)
        self._overhead_s = (self._overhead_s + max(0.0, taken_s)) / 2
