"""Which deliveries a fault may have interrupted, between a worker's claim and its acknowledgement.

The records show when the gateway recorded a delivery, not when its worker claimed or acknowledged it. Both are assumed
to be within the in-flight allowance and the delivery time of that instant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from duetime.history import NEVER, Delivery, History, RecordedFault
from duetime.history.records import nanoseconds

NON_INTERRUPTING: Final = frozenset(
    {
        "deploy",
        "worker_added",
        "worker_removed",
        "clock",
        "old_transaction",
        "gateway_slow",
        "client_kill",
        "far_database",
    }
)
"""Kinds of fault that interrupt no delivery: both at-least-once and at-most-once hold under them."""
ON_WORKERS: Final = frozenset(
    {
        *("kill", "deploy_kill", "pause", "deploy", "worker_removed", "memory_limit"),
        *("host_vanishes", "cut_from_database", "cut_from_broker", "half_cut", "slow_host"),
    }
)
KILLS: Final = frozenset({"kill", "deploy_kill", "host_vanishes"})
"""Kinds after which a worker's processes are gone, until its healing begins."""
RESTART_EXCUSED_NS: Final = 15_000_000_000
"""A worker may still end this long after a fault because of it."""
NOTICED_WITHIN_NS: Final = 1_000_000_000
"""The harness notices within this time that a worker has ended by itself."""


@dataclass(frozen=True, slots=True)
class Interruption:
    """A period in which what workers had claimed may have been cut off.

    workers: None for all. only: prefixes of keys; empty for all. fault: None if a worker ended by itself.
    kills: the workers' processes ended, so that they cannot go on afterwards.
    """

    start_ns: int
    end_ns: int
    workers: frozenset[str] | None
    kills: bool
    fault: RecordedFault | None
    only: tuple[str, ...] = ()

    def concerns(self, key: str) -> bool:
        return not self.only or key.startswith(self.only)


class Interruptions:
    """The interruptions of one history. allowance_ns: between a recorded delivery and its claim or acknowledgement."""

    def __init__(self, history: History) -> None:
        profile = history.plan.profile
        delivery_time_s = profile.as_written.get("delivery_time_s", 0.0)
        self.allowance_ns = profile.in_flight_allowance_ns + nanoseconds(delivery_time_s)
        self._ended = [(worker, at_ns) for at_ns, worker, _ in (history.closed.restarts if history.closed else ())]
        self._faults = [fault for fault in history.faults if fault.injected_ns < NEVER]
        self._budget_ns = profile.recovery_budget_ns
        self.all: Sequence[Interruption] = [*self._by_faults(), *self._by_crashes()]

    def of(self, delivery: Delivery) -> Iterator[Interruption]:
        """The interruptions after which `delivery` may be unacknowledged."""
        key, at_ns = delivery.op.rpartition("/")[0], delivery.at_ns
        for one in self.all:
            in_time = one.start_ns <= at_ns + self.allowance_ns and at_ns - self.allowance_ns <= one.end_ns
            if in_time and one.concerns(key) and (one.workers is None or delivery.worker in one.workers):
                yield one

    def may_have_left(self, delivery: Delivery) -> bool:
        """Return True if `delivery` may be unacknowledged. Where a fault measured what was in flight, only that is."""
        measured = (one.fault.in_flight if one.fault else frozenset() for one in self.of(delivery))
        return any(not in_flight or delivery.op in in_flight for in_flight in measured)

    def explain_repeat(self, earlier: Sequence[Delivery], again: Delivery) -> bool:
        """Return True if an interruption may be the reason for the delivery `again`, after the `earlier` of its op.

        Either an earlier one was interrupted and could not be acknowledged, or the worker of this one was held up after
        its claim, and another had taken over.
        """
        if any(one.start_ns <= again.at_ns for delivery in earlier for one in self.of(delivery)):
            return True
        return any(not one.kills for one in self.of(again))

    def during(self, key: str, start_ns: int, end_ns: int) -> Iterator[Interruption]:
        """The interruptions that may have hit a notification of `key` that was held at some time in the period."""
        return (one for one in self.all if one.start_ns <= end_ns and start_ns <= one.end_ns and one.concerns(key))

    def process_gone(self, delivery: Delivery) -> bool:
        """Return True if the process that made `delivery` had ended when the history was closed, by the records."""
        at_ns, worker = delivery.at_ns, delivery.worker
        if any(name == worker and at_ns <= ended_ns for name, ended_ns in self._ended):
            return True
        return any(
            at_ns < _ends_before_ns(fault) and fault.observed_ns < NEVER and worker in _known_workers(fault, worker)
            for fault in self._faults
        )

    def _by_faults(self) -> Iterator[Interruption]:
        for fault in self._faults:
            if fault.kind in NON_INTERRUPTING:
                continue
            kills = fault.kind in KILLS
            end_ns = min(fault.observed_ns, fault.healed_ns) if kills else self._recovered_ns(fault)
            workers = _workers(fault)
            yield Interruption(fault.injected_ns, end_ns, workers, kills, fault, fault.only)

    def _by_crashes(self) -> Iterator[Interruption]:
        """Workers that ended by themselves after a fault, and because of it."""
        for worker, at_ns in self._ended:
            if any(_may_end_a_worker(fault, at_ns) for fault in self._faults):
                yield Interruption(at_ns - NOTICED_WITHIN_NS, at_ns, frozenset({worker}), kills=True, fault=None)

    def _recovered_ns(self, fault: RecordedFault) -> int:
        return min(NEVER, fault.healed_ns + self._budget_ns.get(fault.kind, 0))


def _may_end_a_worker(fault: RecordedFault, at_ns: int) -> bool:
    interrupts = fault.kind not in NON_INTERRUPTING
    return interrupts and fault.injected_ns <= at_ns <= min(NEVER, fault.healed_ns + RESTART_EXCUSED_NS)


def _workers(fault: RecordedFault) -> frozenset[str] | None:
    """The workers that the fault may have hit; None for any."""
    if fault.kind not in ON_WORKERS or fault.target == "all":
        return None
    if fault.worker:
        return frozenset({fault.worker})
    return None if _chosen_later(fault) else frozenset({fault.target})


def _known_workers(fault: RecordedFault, worker: str) -> frozenset[str]:
    """The workers that the fault surely hit, of which `worker` may be one."""
    if fault.kind in ON_WORKERS and fault.target == "all":
        return frozenset({worker})
    if fault.worker:
        return frozenset({fault.worker})
    return frozenset() if _chosen_later(fault) else frozenset({fault.target})


def _chosen_later(fault: RecordedFault) -> bool:
    """Return True if the fault's target is not a worker's name; a name ends in a number."""
    return not fault.target.rpartition("-")[2].isdigit()


def _ends_before_ns(fault: RecordedFault) -> int:
    """Deliveries before this instant are of the processes that the fault ended; 0 if it ended none.

    A killed worker is started again when its healing begins. The others are ended one after another, so that only the
    time before the injection is sure.
    """
    if fault.kind in KILLS:
        return fault.heal_ns
    return fault.injected_ns if fault.kind in ("deploy", "worker_removed") else 0
