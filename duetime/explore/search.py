"""The search: which choices to replay, so that every state of a scope is reached and every step from it is taken.

Depth first, by replay. Where a state has been reached before, on another way, what follows is the same, and the
interleaving is given up there. The states make a graph without cycles, in which the interleavings can be counted.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from duetime.errors import DuetimeError
from duetime.explore.steps import FAULTS, Step


class NotDeterministic(DuetimeError):
    """A replay did not offer a step that it offered before, so the exploration would prove nothing."""


class Execution(Protocol):
    """One interleaving, being carried out."""

    def choices(self) -> Sequence[Step]:
        """Return what can be done next, always in the same order; nothing if all is done."""

    def take(self, step: Step) -> None:
        """Do it, and wait until all participants are idle again."""

    def state(self) -> str:
        """Return the same text for every state from which the same follows, with the same verdict."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A step that has not been taken yet, from the state that the steps before it lead to.

    before: the state. share: of the whole search, estimated. preemptions: how often the steps leave a participant that
    could go on.
    """

    prefix: tuple[Step, ...] = ()
    before: str = ""
    share: float = 1.0
    preemptions: int = 0

    def to_json(self) -> dict[str, Any]:
        return {
            "prefix": [step.to_json() for step in self.prefix], "before": self.before, "share": self.share,
            "preemptions": self.preemptions,
        }  # fmt: skip

    @classmethod
    def from_json(cls, branch: Mapping[str, Any]) -> Branch:
        prefix = tuple(Step(**step) for step in branch["prefix"])
        return cls(prefix, branch["before"], branch["share"], branch["preemptions"])


@dataclass(slots=True)
class Search:
    """most_preemptions: leave out interleavings that switch more often; None for all of the scope.

    left: what is to be done. after: the states that follow each state. done: the share of the search that is finished,
    estimated. runs: how many interleavings were begun.
    """

    most_preemptions: int | None = None
    left: list[Branch] = field(default_factory=lambda: [Branch()])
    after: dict[str, list[str]] = field(default_factory=dict)
    done: float = 0.0
    runs: int = 0

    def next(self, execution: Execution) -> list[Step] | None:
        """Carry out the next interleaving in `execution`; return its steps, or None if it ends in a known state.

        Raises:
            NotDeterministic: a step of the prefix is not offered again.
        """
        branch = self.left.pop()
        self.runs += 1
        taken: list[Step] = []
        for step in branch.prefix:
            taken.append(take_same(execution, step, taken))
        before, share, preemptions = branch.before, branch.share, branch.preemptions
        while True:
            state = execution.state()
            if self.most_preemptions is not None:
                # With a bound it matters how much of it is left, and who may go on for nothing.
                state = f"{state} {preemptions} {taken[-1].participant if taken else ''}"
            if taken:
                self.after[before].append(state)
            if state in self.after:
                self.done += share
                return None
            self.after[state] = []
            offered = self._in_order(execution.choices(), taken, preemptions)
            if not offered:
                self.done += share
                return taken
            share /= len(offered)
            before = state
            for step, then in reversed(offered[1:]):
                self.left.append(Branch((*taken, step), state, share, then))
            step, preemptions = offered[0]
            execution.take(step)
            taken.append(step)

    def _in_order(self, choices: Sequence[Step], taken: Sequence[Step], preemptions: int) -> list[tuple[Step, int]]:
        """Return the steps to take, each with the preemptions that it leads to. Whoever was at work goes on first."""
        last = taken[-1].participant if taken else ""
        could_go_on = any(step.participant == last and step.kind not in FAULTS for step in choices)
        found = [(step, preemptions + int(could_go_on and step.participant != last)) for step in choices]
        found.sort(key=lambda item: (item[0].kind in FAULTS, item[0].participant != last))
        return [item for item in found if self.most_preemptions is None or item[1] <= self.most_preemptions]

    def interleavings(self) -> int:
        """Return how many interleavings the explored states stand for: the ways from the first state to a last one."""
        ways: dict[str, int] = {}
        # Each state was recorded before those that follow it for the first time, but may lead to earlier ones.
        pending = [next(iter(self.after))] if self.after else []
        while pending:
            state = pending[-1]
            unknown = [each for each in self.after[state] if each not in ways]
            if unknown:
                pending += unknown
                continue
            pending.pop()
            ways[state] = sum(ways[each] for each in self.after[state]) if self.after[state] else 1
        return ways[next(iter(self.after))] if self.after else 0

    def to_json(self) -> dict[str, Any]:
        return {
            "most_preemptions": self.most_preemptions, "left": [branch.to_json() for branch in self.left],
            "after": self.after, "done": self.done, "runs": self.runs,
        }  # fmt: skip

    @classmethod
    def from_json(cls, search: Mapping[str, Any]) -> Search:
        return cls(
            search["most_preemptions"], [Branch.from_json(branch) for branch in search["left"]],
            {state: list(after) for state, after in search["after"].items()}, search["done"], search["runs"],
        )  # fmt: skip


def take_same(execution: Execution, step: Step, before: Sequence[Step]) -> Step:
    """Take `step` of an earlier interleaving again.

    Raises:
        NotDeterministic: the execution does not offer it, or offers something else in its place.
    """
    offered = execution.choices()
    if step not in offered:
        others = ", ".join(f"{each.participant}: {each.label}" for each in offered) or "nothing"
        raise NotDeterministic(
            f"after {len(before)} steps {step.participant} does not offer {step.label!r} again, but {others}; a clock "
            "or another process decides here"
        )
    execution.take(step)
    return step


def replay(execution: Execution, steps: Sequence[Step]) -> list[Step]:
    """Carry out `steps` again, and then what is left, one participant after the other, without a further fault.

    Raises:
        NotDeterministic: one of them is not offered.
    """
    taken: list[Step] = []
    for step in steps:
        taken.append(take_same(execution, step, taken))
    while choices := [step for step in execution.choices() if step.kind not in FAULTS]:
        execution.take(choices[0])
        taken.append(choices[0])
    return taken


def random_walk(execution: Execution, seed: int, *, depth: int, changes: int) -> list[Step]:
    """Carry out an interleaving with random priorities that change `changes` times (PCT, Burckhardt and others 2010).

    depth: about how many steps an interleaving has.
    """
    chance = random.Random(seed)
    priority: dict[tuple[str, str], float] = {}
    change_at = set(chance.sample(range(1, depth), min(changes, depth - 1)))
    taken: list[Step] = []
    while choices := list(execution.choices()):
        for step in choices:
            # A fault takes place when its victim would have gone on, or not at all.
            priority.setdefault((step.participant, step.kind), chance.random() + (step.kind not in FAULTS))
        best = max(choices, key=lambda step: priority[step.participant, step.kind])
        if len(taken) in change_at:
            priority[best.participant, best.kind] = -chance.random()
            best = max(choices, key=lambda step: priority[step.participant, step.kind])
        execution.take(best)
        taken.append(best)
    return taken
