"""Explores a scope of a design until all of it is done, a violation is found, or the time is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from duetime.errors import DuetimeError
from duetime.explore.execution import Execution
from duetime.explore.judge import Verdict, judge
from duetime.explore.participants import Event
from duetime.explore.scopes import Scope
from duetime.explore.search import NotDeterministic, Search, random_walk, replay
from duetime.explore.steps import Step
from duetime.explore.testbed import Testbed, running_testbed
from duetime.interface import Design

REPORT_EVERY_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """One interleaving, with its verdict. stored: where the design's store still has each op at the end."""

    design: str
    scope: str
    steps: Sequence[Step]
    events: Sequence[Event]
    verdict: Verdict
    stored: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Names the design, by its file without the folders if it is one of somebody's own, and the scope."""
        file = Path(self.design.partition(":")[0])
        return f"{file.stem if file.suffix == '.py' else self.design} in {self.scope}"

    @property
    def fails(self) -> bool:
        return bool(self.verdict.broken)


@dataclass(slots=True, kw_only=True)
class Explored:
    """What is known of a scope. judged: interleavings that were carried out to their end. longest: in steps.

    violation: the first schedule that breaks a guarantee. unknown: a schedule that proves nothing, if there is one.
    """

    scope: Scope
    search: Search
    judged: int = 0
    longest: int = 0
    seconds: float = 0.0
    violation: Schedule | None = None
    unknown: Schedule | None = None
    allowed: dict[str, int] = field(default_factory=dict)
    """Violations that the guarantees allow, for instance a duplicate after a kill: how many interleavings have each."""

    @property
    def is_whole(self) -> bool:
        return not self.search.left and self.search.most_preemptions is None


Progress = Callable[[Explored], None]


class Explorer:
    """Carries out interleavings of one scope of one design."""

    def __init__(self, design: Design, loaded_as: str, scope: Scope, tempdir: Path) -> None:
        self._design, self._loaded_as, self._scope = design, loaded_as, scope
        self._directory = tempdir / scope.name
        self._resources = ExitStack()
        self._testbed: Testbed | None = None

    def __enter__(self) -> Self:
        self._directory.mkdir()
        self._testbed = self._resources.enter_context(
            running_testbed(self._design, self._loaded_as, self._scope.participants(), self._directory)
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def _execution(self) -> Execution:
        assert self._testbed  # noqa: S101 - entered before
        return Execution(self._testbed, self._scope)

    def explore(self, explored: Explored, *, until_s: float, report: Progress) -> None:
        """Go on until all is done, a violation is found, or ``time.monotonic()`` is `until_s`.

        Raises:
            NotDeterministic: a schedule did not repeat.
            HarnessError: a participant hangs.
        """
        began_s = reported_s = time.monotonic()
        before_s = explored.seconds
        while explored.search.left and not explored.violation and time.monotonic() < until_s:
            execution = self._execution()
            try:
                taken = explored.search.next(execution)
            except DuetimeError as error:
                raise type(error)(f"{error}\n{self.log()}".rstrip()) from error
            if taken is None:
                execution.give_up()
            else:
                self._judged(explored, execution, taken)
            explored.seconds = before_s + time.monotonic() - began_s
            if time.monotonic() - reported_s > REPORT_EVERY_S:
                reported_s = time.monotonic()
                report(explored)

    def walk(self, explored: Explored, walks: int, *, changes: int, report: Progress) -> None:
        """Carry out `walks` interleavings with random priorities."""
        began_s = reported_s = time.monotonic()
        depth = 4 * len(self._scope.participants()) + 8
        for seed in range(walks):
            execution = self._execution()
            taken = random_walk(execution, seed, depth=max(depth, explored.longest), changes=changes)
            self._judged(explored, execution, taken)
            explored.seconds = time.monotonic() - began_s
            if explored.violation:
                return
            if time.monotonic() - reported_s > REPORT_EVERY_S:
                reported_s = time.monotonic()
                report(explored)

    def replay(self, steps: Sequence[Step]) -> Schedule:
        """Carry out a schedule again.

        Raises:
            NotDeterministic: it does not repeat.
        """
        execution = self._execution()
        try:
            return self._schedule(execution, replay(execution, steps))
        except NotDeterministic:
            execution.give_up()
            raise

    def _judged(self, explored: Explored, execution: Execution, taken: Sequence[Step]) -> None:
        schedule = self._schedule(execution, taken)
        explored.judged += 1
        explored.longest = max(explored.longest, len(taken))
        if schedule.fails:
            explored.violation = schedule
        elif schedule.verdict.unknown:
            explored.unknown = explored.unknown or schedule
        else:
            for label in {label for label, _ in schedule.verdict.violations}:
                explored.allowed[label] = explored.allowed.get(label, 0) + 1

    def _schedule(self, execution: Execution, taken: Sequence[Step]) -> Schedule:
        ended = execution.finish()
        verdict = judge(ended, self._scope, self._design.guarantees)
        return Schedule(
            design=self._loaded_as,
            scope=self._scope.name,
            steps=taken,
            events=ended.events,
            verdict=verdict,
            stored=ended.stored,
        )

    def log(self) -> str:
        """Return the end of what the participants have written to their log."""
        file = self._directory / "participants.log"
        return file.read_text(errors="replace")[-2000:] if file.exists() else ""
