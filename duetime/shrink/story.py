"""A small plan as one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from duetime.harness.plan.plan import Plan, PlannedFault, PlannedOperation
from duetime.shrink.kinds import Kind
from duetime.shrink.reductions import CREATES, subject

BEGINS: Final[Mapping[str, tuple[str, str]]] = {
    "kill": ("{target} {was} killed", "restart {later} later"),
    "deploy": ("{target} {was} restarted in an orderly way", ""),
    "deploy_kill": ("{target} {was} deployed with a grace of {size} s", "the others {later} later"),
    "pause": ("{target} {was} paused", "resumed {later} later"),
    "worker_added": ("{target} was added", "removed {later} later"),
    "worker_removed": ("{target} was stopped for good", ""),
    "database_kill": ("the database server was killed", "restart {later} later"),
    "failover": ("the primary of the database was killed", "its standby took over {later} later"),
    "old_primary_returns": ("the old primary was started again", "killed {later} later"),
    "sessions_terminated": ("every session of the database was terminated", ""),
    "tables_locked": ("all tables were locked", "released {later} later"),
    "tables_rewritten": ("the tables were rewritten", ""),
    "connections_used_up": ("another program took all connections", "released {later} later"),
    "settings_changed": ("the database began to make every transaction serializable", "until {later} later"),
    "restore": ("a backup of the database was taken, and the database lost", "the backup restored {later} later"),
    "pooler_kill": ("the pooler before the database was killed", "restart {later} later"),
    "disk_full": ("the disk with the {target} was filled", "room again {later} later"),
    "broker_kill": ("the broker was killed", "restart {later} later"),
    "broker_disk_full": ("the disk with the {target} was filled", "room again {later} later"),
    "broker_failover": ("the primary of the broker was killed", "its replica took over"),
    "cut": ("connections to the {target} were cut", "possible again {later} later"),
    "refuse": ("new connections to the {target} were refused", "possible again {later} later"),
    "freeze": ("connections to the {target} froze", "alive again {later} later"),
    "partition": ("the {target} was cut off from the network", "back {later} later"),
    "memory_limit": ("the kernel killed a process of {target} for its memory", "the limit lifted {later} later"),
    "descriptors_used_up": ("{target} could open no further connection or file", "possible again {later} later"),
    "clock": ("the clock of {target} was set wrong by {size} s", "right again {later} later"),
    "gateway_slow": ("deliveries began to take {size} s longer", "for {later}"),
    "gateway_refuse": ("the gateway began to refuse", "for {later}"),
    "gateway_hang": ("the gateway began to hang", "for {later}"),
    "gateway_lose_answer": ("the gateway began to lose its answers", "for {later}"),
    "client_kill": ("{target} was killed right after its first commit", "restart {later} later"),
    "old_transaction": ("a transaction was opened and left open", "closed {later} later"),
    "host_vanishes": ("the host of {target} vanished", "back {later} later"),
    "cut_from_database": ("the host of {target} was cut from the database", "back {later} later"),
    "cut_from_broker": ("the host of {target} was cut from the broker", "back {later} later"),
    "half_cut": ("nothing from the database reached the host of {target}", "until {later} later"),
    "far_database": ("each packet from and to the database began to take {size} s longer", "until {later} later"),
    "slow_host": ("the host of {target} got slow", "until {later} later"),
}
"""What happened at the injection of a fault, and at its healing."""
CHANGES: Final[Mapping[str, str]] = {
    "move_event": "moved",
    "postpone": "moved",
    "cancel_event": "cancelled",
    "leave_event": "cancelled",
    "call_off": "cancelled",
    "change_address": "with a new address",
    "join_event": "for a guest who joined",
    "migrate": "with the design replaced",
}
PHASES: Final[Mapping[str, str]] = {
    "before_delivery": "right before its second delivery",
    "delivering": "between its second delivery and the answer",
    "after_delivery": "right after its second delivery",
}
"""When a fault in a phase of a delivery hits the worker: its second, see `HIT_IN_DELIVERY`."""
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def story(plan: Plan, kind: Kind) -> str:
    """What `plan` does and which violation it shows: ``Missed (lost): one reminder, due 0.4 s after …``."""
    text = f"{kind}: {_notifications(plan)}, {_times(plan)}"
    ends = [end for fault in plan.faults if (end := _end(fault))]
    if len(plan.faults) > 1:
        text += "; " + ", ".join(f"{_begin(plan, fault)} {_when(fault)}" for fault in plan.faults)
    elif ends:
        text += f"; {ends[0]}"
    return f"{text[:1].upper()}{text[1:]}."


def size(plan: Plan) -> str:
    """How large `plan` is, in words."""
    counted = {"operation": len(plan.operations), "fault": len(plan.faults), "worker": plan.workers}
    parts = [f"{number} {name}{'' if number == 1 else 's'}" for name, number in counted.items()]
    return ", ".join([*parts, seconds(plan.judged_until_s())])


def seconds(span_s: float) -> str:
    """A time or a span in seconds with one decimal, or two where that would be nothing."""
    text = f"{span_s:.1f}" if abs(span_s) >= 0.095 or span_s == 0 else f"{span_s:.2f}"
    return f"{text.removesuffix('.0')} s"


def _notifications(plan: Plan) -> str:
    """The notifications, and what became of them before they were due."""
    created = [each for each in plan.operations if each.do in CREATES and not each.rolled_back]
    kinds = {each.kind for each in created}
    noun = "reminder" if kinds == {None} else "follow-up" if None not in kinds else "notification"
    number = sum(len(each.users) if each.do == "create_event" else 1 for each in created)
    text = f"{NUMBERS[number] if number < len(NUMBERS) else number} {noun}{'' if number == 1 else 's'}"
    rolled_back = ["rolled back" for each in plan.operations if each.rolled_back]
    changes = [] if _only_change(plan) else [CHANGES[each.do] for each in _changes(plan)]
    return ", ".join([text, *dict.fromkeys([*changes, *rolled_back])])


def _changes(plan: Plan) -> list[PlannedOperation]:
    return [each for each in plan.operations if each.do in CHANGES and not each.rolled_back]


def _only_change(plan: Plan) -> PlannedOperation | None:
    """The only change, of which it is told when it came."""
    changes = _changes(plan)
    timed = not plan.faults or (len(plan.faults) == 1 and _is_at_its_time(plan.faults[0]))
    return changes[0] if timed and len(changes) == 1 and CHANGES[changes[0].do] in ("moved", "cancelled") else None


def _is_at_its_time(fault: PlannedFault) -> bool:
    """Return True if the fault waits for no delivery and for no commit."""
    return fault.kind != "client_kill" and fault.target not in PHASES


def _times(plan: Plan) -> str:
    """When they were due, seen from the only fault or from the first call; or what happened at their commit."""
    last_change = {subject(each): each for each in plan.operations if each.due_s is not None and not each.rolled_back}
    due = [each.due_s for each in last_change.values() if each.due_s is not None]
    if len(plan.faults) > 1:
        return f"due {_between(due)} s after the start"
    if not plan.faults:
        first_s = min((each.at_s for each in plan.operations), default=0.0)
        return _seen_from(first_s, "it was scheduled" if len(last_change) == 1 else "the first call", plan, due)
    fault = plan.faults[0]
    if fault.kind == "client_kill":
        commits = sum(not each.rolled_back for each in plan.operations)
        return f"whose client was killed right after {'the commit' if commits == 1 else 'one of the commits'}"
    if fault.target in PHASES:
        together = "due at the same time" if len(set(due)) == 1 else f"due within {seconds(max(due) - min(due))}"
        return f"{together}; {_begin(plan, fault)} {PHASES[fault.target]}"
    return _seen_from(fault.inject_s, _begin(plan, fault), plan, due)


def _seen_from(origin_s: float, event: str, plan: Plan, due: Sequence[float]) -> str:
    """When they were due, and changed if there was a single change, before or after `event`."""
    change = _only_change(plan)
    clauses = [f"{CHANGES[change.do]} {_relative([change.at_s - origin_s])}"] if change else []
    return " and ".join([*clauses, f"due {_relative([at_s - origin_s for at_s in due])} {event}"])


def _relative(distances_s: Sequence[float]) -> str:
    if all(each < 0 for each in distances_s):
        return f"{_between([-each for each in distances_s])} s before"
    if any(each < 0 for each in distances_s):
        return f"from {seconds(-min(distances_s))} before to {seconds(max(distances_s))} after"
    return f"{_between(distances_s)} s after"


def _between(times_s: Sequence[float]) -> str:
    """The first and the last of `times_s`, or the only one."""
    texts = list(dict.fromkeys(seconds(each).removesuffix(" s") for each in sorted(times_s)))
    return " to ".join(dict.fromkeys([texts[0], texts[-1]])) if texts else "0"


def _begin(plan: Plan, fault: PlannedFault) -> str:
    return BEGINS[fault.kind][0].format(
        target=_target(plan, fault), was="were" if _is_plural(plan, fault) else "was", size=f"{fault.size_s:g}"
    )


def _when(fault: PlannedFault) -> str:
    at_s = seconds(fault.inject_s)
    return PHASES.get(fault.target, f"after {at_s}" if fault.kind == "client_kill" else f"at {at_s}")


def _end(fault: PlannedFault) -> str:
    return BEGINS[fault.kind][1].format(later=seconds(fault.heal_s - fault.inject_s))


def _target(plan: Plan, fault: PlannedFault) -> str:
    if fault.target == "all":
        return "the only worker" if plan.workers == 1 else f"all {plan.workers} workers"
    if fault.target in PHASES:
        return "the only worker" if plan.workers == 1 else f"one of {plan.workers} workers"
    return fault.target


def _is_plural(plan: Plan, fault: PlannedFault) -> bool:
    return fault.target == "all" and plan.workers > 1
