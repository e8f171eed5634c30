"""What a run's evidence is too weak to say.

A false accusation is worse than a missed one: an accusation that rests on a damaged file, on a clock that stepped,
or on a moment in which the harness itself was starved is withdrawn, and the run becomes unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise

from duetime.checker.intervals import Interval, Intervals
from duetime.checker.labels import DELIVERY_VIOLATIONS, Doubtful, Label, Labelled
from duetime.checker.obligations import Excuses, Obligation, obligations_of
from duetime.history import Canary, History

STEP_NS = 5_000_000
"""A wall clock that moves by more than this against the monotonic one has stepped, not drifted."""


class Evidence:
    """Which accusations against this history can be upheld.

    used: the starved intervals that made a difference.
    """

    def __init__(self, history: History, obligations: Mapping[str, Obligation], excused: Excuses) -> None:
        damage = history.damage
        self._altered = bool(damage.altered & {"plan.json", "history.jsonl", "deliveries.jsonl"})
        self._faults_doubtful = "faults.jsonl" in damage.altered | damage.incomplete
        self._history_incomplete = "history.jsonl" in damage.incomplete
        self._undelivered_doubtful = self._history_incomplete or "deliveries.jsonl" in damage.incomplete
        self._cancels = {o.op for o in history.operations.values() if o.verb == "cancel"}
        self._closed = history.closed
        self._profile = history.plan.profile
        self.steps = list(_steps(history.clock))
        self._timing_doubtful = bool(self.steps) or not history.clock or "clock.jsonl" in damage.altered
        self._seen = list(_starved(history.canaries, self._profile.early_tolerance_ns))
        self._starved = Intervals([*self._seen, *_silence(history)])
        self._softened = excused.besides(self._seen)
        self._history, self._obligations = history, obligations
        self.used: set[Interval] = set()

    def apply(self, labelled: Labelled) -> None:
        """Let the first accusation that can be upheld come first; where none can, say what is in doubt."""
        matched = (labelled.label, *labelled.also)
        weighed = [(found, self._doubt(found, labelled)) for found in matched if found in DELIVERY_VIOLATIONS]
        if not weighed or weighed[0][1] is None:
            return
        upheld = next((found for found, doubt in weighed if doubt is None), None)
        first: Label = upheld or weighed[0][1]
        labelled.label, labelled.also = first, tuple(found for found in matched if found != first)

    def missed(self, op: str) -> bool:
        """Whether a required revision that was never delivered is proven missed, and not merely still awaited."""
        if self._closed is None or self._altered or self._faults_doubtful or self._undelivered_doubtful:
            return False
        obligation = self._without_starvation[op]
        return obligation.required and self._closed.at_ns >= obligation.deadline_ns

    @cached_property
    def _without_starvation(self) -> Mapping[str, Obligation]:
        """The promises, not counting seconds in which the harness was starved, or by which the wall clock stepped.

        A later deadline also leaves more time for a lawful cancel, so they are worked out afresh; but not unless
        something did not come.
        """
        stepped_ns = sum(abs(step) for _, step in self.steps)
        if not stepped_ns and not self._seen:
            return self._obligations
        limit_ns = self._profile.lateness_limit_ns + stepped_ns
        return obligations_of(self._history.operations.values(), excused=self._softened, lateness_limit_ns=limit_ns)

    def _doubt(self, accusation: Label, labelled: Labelled) -> Doubtful | None:
        if self._altered:
            return "unproven"
        if accusation == "early":
            return "unknown_early" if self._timing_doubtful else None
        if accusation == "late":
            return self._late(labelled)
        if accusation == "duplicate":
            return None
        return self._unlawful(labelled)

    def _late(self, labelled: Labelled) -> Doubtful | None:
        if self._faults_doubtful:
            return "unproven"
        assert labelled.obligation is not None  # noqa: S101  # only a promise can be kept late
        starved = self._starved.overlap(labelled.obligation.ready_ns, labelled.delivery.at_ns)
        if starved:
            self.used.add(starved)
        return "unknown_late" if starved or self._timing_doubtful else None

    def _unlawful(self, labelled: Labelled) -> Doubtful | None:
        """Phantom or stale: sure at once when refused or not yet asked for, else as sure as what took it back."""
        obligation, at_ns = labelled.obligation, labelled.delivery.at_ns
        if obligation is None:
            unverified = self._history_incomplete and labelled.delivery.op not in self._cancels
            return "unproven" if unverified else None
        if obligation.operation.answer == "fail" or at_ns < obligation.operation.invoked_ns:
            return None
        if self._faults_doubtful:
            return "unproven"
        softened = self._softened.of(obligation.operation.key)
        if softened.healthy(obligation.superseded_ns, at_ns) > self._profile.in_flight_allowance_ns:
            return None
        starved = self._starved.overlap(obligation.superseded_ns, at_ns)
        if starved:
            self.used.add(starved)
        return "unproven"


def _steps(clock: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Where the wall clock stepped: the monotonic instant by which it had, and by how much."""
    for (wall, mono), (next_wall, next_mono) in pairwise(clock):
        step = (next_wall - next_mono) - (wall - mono)
        if abs(step) > STEP_NS:
            yield next_mono, step


def _starved(canaries: Sequence[Canary], tolerance_ns: int) -> list[Interval]:
    """Where a canary came late, or never came though a later one did."""
    late = [(c.due_ns, c.at_ns) for c in canaries if c.at_ns - c.due_ns > tolerance_ns]
    gaps = [(c.due_ns, after.at_ns) for c, after in pairwise(canaries) if after.revision > c.revision + 1]
    return late + gaps


def _silence(history: History) -> Iterator[Interval]:
    """Before the first canary and after the last one nothing vouches for the harness, but for two periods."""
    spare_ns, canaries = 2 * history.plan.canary_period_ns, history.canaries
    if not spare_ns or not canaries:
        return
    last_ns = max([d.at_ns for d in history.deliveries], default=0)
    if canaries[0].revision > 0:
        yield history.started_ns, canaries[0].at_ns
    if last_ns > canaries[-1].due_ns + spare_ns:
        yield canaries[-1].due_ns + spare_ns, last_ns
