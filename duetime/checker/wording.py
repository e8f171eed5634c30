"""Plain words for notifications, times and faults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from duetime.history import NEVER, RecordedFault

FAULTS: Final[Mapping[str, str]] = {
    "kill": "{target} {was} killed and down {period}",
    "deploy": "{target} {was} restarted {period}",
    "deploy_kill": "{target} got SIGTERM and was killed when its grace was over, in a deploy {period}",
    "pause": "{target} {was} paused {period}",
    "worker_added": "{target} ran as an additional worker {period}",
    "worker_removed": "{target} {was} stopped for good at {start}",
    "database_kill": "the database server was down {period}",
    "failover": "the primary of the database was killed and its standby took over {period}",
    "old_primary_returns": "the old primary of the database ran beside the new one {period}",
    "sessions_terminated": "every session of the database was terminated at {start}",
    "tables_locked": "all tables of the database were locked {period}",
    "tables_rewritten": "the tables of the database were rewritten {period}",
    "connections_used_up": "another program had all connections of the database {period}",
    "settings_changed": "the database made every transaction serializable {period}",
    "restore": "the database was lost and replaced by a backup {period}",
    "pooler_kill": "the pooler before the database was down {period}",
    "disk_full": "the disk with the {target} was full {period}",
    "broker_kill": "the broker was down {period}",
    "broker_disk_full": "the disk with the {target} was full {period}",
    "broker_failover": "the primary of the broker was killed and its replica took over {period}",
    "cut": "connections to the {target} were cut {period}",
    "refuse": "new connections to the {target} were refused {period}",
    "freeze": "connections to the {target} were frozen {period}",
    "partition": "the {target} was cut off from the network {period}",
    "memory_limit": "{target} was beyond its memory limit {period}",
    "descriptors_used_up": "{target} could open no further connection or file {period}",
    "clock": "the clock of {target} was wrong {period}",
    "gateway_slow": "the gateway was slow {period}",
    "gateway_refuse": "the gateway refused deliveries {period}",
    "gateway_hang": "deliveries hung in the gateway {period}",
    "gateway_lose_answer": "answers of the gateway were lost {period}",
    "client_kill": "{target} was killed and down {period}",
    "old_transaction": "an old transaction was open {period}",
    "host_vanishes": "the host of {target} vanished and was gone {period}",
    "cut_from_database": "the host of {target} was cut from the database {period}",
    "cut_from_broker": "the host of {target} was cut from the broker {period}",
    "half_cut": "nothing from the database reached the host of {target} {period}",
    "far_database": "the database was far away {period}",
    "slow_host": "the host of {target} was slow {period}",
}
"""What happened, by the kind of fault."""

UNKNOWN_FAULT: Final = "a fault of kind {kind} was in force on {target} {period}"
TARGETS: Final[Mapping[str, str]] = {
    "all": "all workers",
    "delivering": "a delivering worker",
    "before_delivery": "a worker about to deliver",
    "after_delivery": "a worker that had just delivered",
}


class RunClock:
    """Instants as seconds since the start of the run."""

    def __init__(self, start_ns: int) -> None:
        self._start_ns = start_ns

    def at(self, instant_ns: int) -> str:
        return f"{self._seconds(instant_ns)} s"

    def period(self, start_ns: int, end_ns: int) -> str:
        if end_ns >= NEVER:
            return f"from {self.at(start_ns)} until the end of the run"
        return f"from {self._seconds(start_ns)} to {self.at(end_ns)}"

    def _seconds(self, instant_ns: int) -> str:
        return f"{(instant_ns - self._start_ns) / 1e9:.1f}"


def describe_fault(fault: RecordedFault, clock: RunClock) -> str:
    """A clause that says what the fault did and when."""
    if fault.kind == "kill" and fault.target == "all":
        template = "all workers were down {period}"
    else:
        template = FAULTS.get(fault.kind, UNKNOWN_FAULT)
    return template.format(
        kind=fault.kind,
        target=TARGETS.get(fault.target, fault.target),
        was="were" if fault.target == "all" else "was",
        start=clock.at(fault.injected_ns),
        period=clock.period(fault.injected_ns, fault.healed_ns),
    )


def duration(span_ns: int) -> str:
    """Milliseconds below a second, else seconds with one decimal."""
    if span_ns < 1_000_000:
        return "less than 1 ms"
    return f"{span_ns / 1e6:.0f} ms" if span_ns < 1_000_000_000 else f"{span_ns / 1e9:.1f} s"


def notification_name(op: str) -> str:
    """The notification of `op`, in the terms of the example application where its key has their form."""
    key, _, revision = op.rpartition("/")
    match key.split(":"):
        case ["event-reminder", event, user]:
            name = f"reminder {user} of event {event}"
        case [kind, number]:
            name = f"{kind} {number}"
        case _:
            name = f"notification {key}"
    return name if revision in ("0", "1") else f"{name}, revision {revision},"


def sentence(text: str) -> str:
    """`text` with a capital at its beginning and one full stop at its end."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
