"""Violations that the records cannot prove.

A violation that rests on a damaged file, on a clock that stepped or on a period in which the harness was starved is
withdrawn, and the run becomes unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise

from duetime.checker.intervals import Interval, Intervals
from duetime.checker.labels import DELIVERY_VIOLATIONS, Label, Labelled, Unproven
from duetime.checker.obligations import Excuses, Obligation, obligations_of
from duetime.checker.other_clock import OtherClock
from duetime.history import Canary, History

STEP_NS = 5_000_000
"""A wall clock that moves by more than this against the monotonic clock has stepped, not drifted."""


class Evidence:
    """Decides which violations one history proves.

    steps: the instant and size of each step of the wall clock.
    other_clock: the difference of the clock of a database server of the user's own.
    used: the periods of starvation because of which a violation was withdrawn.
    """

    def __init__(self, history: History, obligations: Mapping[str, Obligation], excused: Excuses) -> None:
        damage = history.damage
        self._altered = bool(damage.altered & {"plan.json", "history.jsonl", "deliveries.jsonl"})
        self._faults_damaged = "faults.jsonl" in damage.altered | damage.incomplete
        self._history_incomplete = "history.jsonl" in damage.incomplete
        self._deliveries_incomplete = "deliveries.jsonl" in damage.incomplete
        self._cancels = {o.op for o in history.operations.values() if o.verb == "cancel"}
        self._closed = history.closed
        self._profile = history.plan.profile
        self.steps = list(_steps(history.clock))
        self._timing_unproven = bool(self.steps) or not history.clock or "clock.jsonl" in damage.altered
        starved = [*_starved(history.canaries, self._profile.early_tolerance_ns), *_without_canary(history)]
        self._starved = Intervals(starved)
        self._excused = excused.plus(starved)
        # The database's clock excuses nothing in a design that does not read it.
        readings = [] if history.plan.due_by_workers else history.database_clock
        self.other_clock = OtherClock.of(readings, self._profile.early_tolerance_ns)
        self._history, self._obligations = history, obligations
        self.used: set[Interval] = set()

    @property
    def calls_intact(self) -> bool:
        """True if no call can be missing, so that a revision is known to be the newest of its key."""
        return not (self._altered or self._history_incomplete)

    @property
    def faults_intact(self) -> bool:
        return not self._faults_damaged

    def apply(self, labelled: Labelled) -> None:
        """Put the first proven violation first; without one, the label says what is unproven."""
        matched = (labelled.label, *labelled.also)
        weighed = [(label, self._unproven(label, labelled)) for label in matched if label in DELIVERY_VIOLATIONS]
        if not weighed or weighed[0][1] is None:
            return
        proven = next((label for label, unproven in weighed if unproven is None), None)
        first: Label = proven or weighed[0][1]
        labelled.label, labelled.also = first, tuple(label for label in matched if label != first)

    def proves_missed(self, op: str) -> bool:
        """Return True if `op`, which is required and was never delivered, is proven missed."""
        damaged = not (self.calls_intact and self.faults_intact) or self._deliveries_incomplete
        if self._closed is None or damaged:
            return False
        obligation = self._without_starvation[op]
        return obligation.required and self._closed.at_ns >= obligation.deadline_ns

    @cached_property
    def _without_starvation(self) -> Mapping[str, Obligation]:
        """The obligations, with neither starvation nor steps or errors of a clock counted toward a deadline.

        They are computed again because a later deadline leaves more time for a lawful cancel.
        """
        stepped_ns = sum(abs(step) for _, step in self.steps) + self.other_clock.behind_ns
        if not stepped_ns and not self._starved:
            return self._obligations
        limit_ns = self._profile.lateness_limit_ns + stepped_ns
        return obligations_of(self._history.operations.values(), excused=self._excused, lateness_limit_ns=limit_ns)

    def _unproven(self, label: Label, labelled: Labelled) -> Unproven | None:
        """The label to use instead of the violation `label`; None if the violation is proven."""
        if self._altered:
            return "unproven"
        if label == "early":
            return "unknown_early" if self._timing_unproven or self._by_other_clock(labelled) else None
        if label == "late":
            return self._late(labelled)
        if label == "duplicate":
            return None
        return self._phantom_or_stale(labelled)

    def _by_other_clock(self, labelled: Labelled) -> bool:
        """Return True if an early or late delivery may be in time by the clock of the database server."""
        assert labelled.obligation is not None  # noqa: S101  # only an obligation has a due time
        due_ns, at_ns = labelled.obligation.operation.due_ns, labelled.delivery.at_ns
        if at_ns < due_ns:
            return at_ns >= due_ns - self._profile.early_tolerance_ns - self.other_clock.ahead_ns
        return bool(self.other_clock.behind_ns) and at_ns <= self._without_starvation[labelled.delivery.op].deadline_ns

    def _late(self, labelled: Labelled) -> Unproven | None:
        if self._faults_damaged:
            return "unproven"
        assert labelled.obligation is not None  # noqa: S101  # only an obligation has a deadline
        starved = self._starved.overlap(labelled.obligation.ready_ns, labelled.delivery.at_ns)
        if starved:
            self.used.add(starved)
        unproven = starved or self._timing_unproven or self._by_other_clock(labelled)
        return "unknown_late" if unproven else None

    def _phantom_or_stale(self, labelled: Labelled) -> Unproven | None:
        obligation, at_ns = labelled.obligation, labelled.delivery.at_ns
        if obligation is None:
            may_be_lost = self._history_incomplete and labelled.delivery.op not in self._cancels
            return "unproven" if may_be_lost else None
        if obligation.operation.answer == "fail" or at_ns < obligation.operation.invoked_ns:
            return None
        if self._faults_damaged:
            return "unproven"
        excused = self._excused.of(obligation.operation.key)
        if excused.healthy(obligation.superseded_ns, at_ns) > self._profile.in_flight_allowance_ns:
            return None
        starved = self._starved.overlap(obligation.superseded_ns, at_ns)
        if starved:
            self.used.add(starved)
        return "unproven"


def _steps(clock: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Each step of the wall clock: the first monotonic instant after it, and its size."""
    for (wall, mono), (next_wall, next_mono) in pairwise(clock):
        step = (next_wall - next_mono) - (wall - mono)
        if abs(step) > STEP_NS:
            yield next_mono, step


def _starved(canaries: Sequence[Canary], tolerance_ns: int) -> list[Interval]:
    """The periods in which a canary was late, or was skipped although a later one arrived."""
    late = [(c.due_ns, c.at_ns) for c in canaries if c.at_ns - c.due_ns > tolerance_ns]
    gaps = [(c.due_ns, after.at_ns) for c, after in pairwise(canaries) if after.revision > c.revision + 1]
    return late + gaps


def _without_canary(history: History) -> Iterator[Interval]:
    """The periods before the first canary and, after a margin of two canary periods, after the last.

    Without any canary, the whole run: its lines may be lost.
    """
    margin_ns, canaries = 2 * history.plan.canary_period_ns, history.canaries
    if not margin_ns:
        return
    last_ns = max([d.at_ns for d in history.deliveries], default=0)
    if not canaries:
        yield history.started_ns, last_ns
        return
    if canaries[0].revision > 0:
        yield history.started_ns, canaries[0].at_ns
    if last_ns > canaries[-1].due_ns + margin_ns:
        yield canaries[-1].due_ns + margin_ns, last_ns
