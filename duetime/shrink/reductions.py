"""What can be taken away from a plan so that the rest is still a sensible plan."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from math import inf

from duetime.harness.plan.plan import CANCELS, Plan, PlannedFault, PlannedOperation
from duetime.harness.plan.scenario import POLL_INTERVAL_S
from duetime.report.mechanism import SHRUNK
from duetime.runtime.delivery_phases import PHASE_OF_TARGET

Subject = tuple[str | None, int]
"""What an operation changes: an event, or the row of a follow-up of some kind."""
Recipient = tuple[Subject, int]
"""A user with whom an event is created."""

HIT_IN_DELIVERY = 2
"""A fault in a phase of a delivery hits a worker in its second delivery, so it needs two."""
HIT_WITHIN_S = 2.5
"""For this long at least such a fault waits for the delivery."""
LEAST_GAP_S = 0.1
"""Between two times of a plan that are moved together, so that their order stays certain."""
WORKER_FAULTS = {
    *("kill", "deploy", "deploy_kill", "pause", "clock", "worker_removed", "memory_limit", "descriptors_used_up"),
    *("host_vanishes", "cut_from_database", "cut_from_broker", "half_cut", "slow_host"),
}
CREATES = {"create_event", "begin"}


def subject(operation: PlannedOperation) -> Subject:
    return operation.kind, operation.event


def recipient_of(op: str) -> Recipient | None:
    """The subject and the user of a notification: ``event-reminder:EVENT:USER/1``, or ``KIND:NUMBER/1`` without one."""
    match op.rpartition("/")[0].split(":"):
        case [_, event, user] if event.isdecimal() and user.isdecimal():
            return (None, int(event)), int(user)
        case [kind, number] if number.isdecimal():
            return (kind, int(number)), 0
        case _:
            return None


def named_shrunk(plan: Plan) -> Plan:
    """`plan` under a name of its own, so that it is not taken for its scenario."""
    return replace(plan, scenario=plan.scenario.removesuffix(SHRUNK) + SHRUNK)


def with_operations(plan: Plan, kept: Collection[PlannedOperation]) -> Plan:
    """`plan` with those of its operations that are in `kept` and whose prerequisites are, too.

    A cancel or a move needs the operation that schedules, a guest who leaves has to take part. The migration of a
    design, without which the run would be another one, stays.
    """
    wanted = set(kept)
    operations = [each for each in plan.operations if each in wanted or each.do == "migrate"]
    return replace(plan, operations=list(_possible(operations)))


def _possible(operations: Sequence[PlannedOperation]) -> Iterator[PlannedOperation]:
    """Those of `operations`, which are in the order of their times, that an earlier one makes possible."""
    users: dict[Subject, set[int]] = {}
    for each in operations:
        here = users.get(subject(each))
        if each.do != "migrate" and each.do not in CREATES:
            needed = set(each.users) if each.do in ("leave_event", "change_address") else set()
            if here is None or not needed <= here:
                continue
        yield each
        if not each.rolled_back:
            if each.do in CREATES:
                users[subject(each)] = set(each.users)
            elif each.do == "join_event" and here is not None:
                here |= set(each.users)


def recipients(plan: Plan) -> list[Recipient]:
    return [(subject(each), user) for each in plan.operations if each.do == "create_event" for user in each.users]


def with_recipients(plan: Plan, kept: Collection[Recipient]) -> Plan:
    """`plan` with those participants of its events that are in `kept`, and at least one in each event."""

    wanted = set(kept)

    def reduced(each: PlannedOperation) -> PlannedOperation:
        if each.do != "create_event":
            return each
        users = tuple(user for user in each.users if (subject(each), user) in wanted)
        return replace(each, users=users or each.users[:1])

    return replace(plan, operations=list(_possible([reduced(each) for each in plan.operations])))


def with_faults(plan: Plan, kept: Collection[PlannedFault]) -> Plan:
    """`plan` with `kept` of its faults, and with what its profile says about the kinds of these only."""
    faults = tuple(fault for fault in plan.faults if fault in kept)
    kinds = {fault.kind for fault in faults}
    profile = replace(
        plan.profile,
        recovery_budget_s={kind: s for kind, s in plan.profile.recovery_budget_s.items() if kind in kinds},
        non_excusing_faults=tuple(kind for kind in plan.profile.non_excusing_faults if kind in kinds),
    )
    required = tuple(kind for kind in plan.required_faults if kind in kinds)
    return replace(plan, faults=faults, profile=profile, required_faults=required)


def with_workers(plan: Plan, workers: int) -> Plan:
    return replace(plan, workers=workers)


def removable_seconds(plan: Plan) -> list[float]:
    """The seconds that can be cut out of the plan, each as the time before which it is.

    A second is a poll interval of the plan, so that everything keeps its distance from a poll.
    """
    times = sorted({0.0, *_times(plan)})
    unit_s = POLL_INTERVAL_S * plan.slow
    return [
        after for before, after in pairwise(times) for _ in range(int((after - before - LEAST_GAP_S + 1e-9) // unit_s))
    ]


def without_seconds(plan: Plan, removed: Sequence[float]) -> Plan:
    """`plan` with everything from each time of `removed` on a second earlier."""
    unit_s, last_s = POLL_INTERVAL_S * plan.slow, _owed_until_s(plan)

    def moved(at_s: float) -> float:
        earlier = sum(each <= at_s for each in removed) if at_s <= last_s else 0
        return round(at_s - unit_s * earlier, 6) if earlier else at_s

    return replace(
        plan,
        operations=[
            replace(each, at_s=moved(each.at_s), due_s=None if each.due_s is None else moved(each.due_s))
            for each in plan.operations
        ],
        faults=tuple(replace(each, inject_s=moved(each.inject_s), heal_s=moved(each.heal_s)) for each in plan.faults),
    )


def _times(plan: Plan) -> Iterator[float]:
    """All times of the plan except those outside of the scope of a run."""
    for each in plan.operations:
        yield each.at_s
        if each.due_s is not None and each.due_s <= _owed_until_s(plan):
            yield each.due_s
    for fault in plan.faults:
        yield from (fault.inject_s, fault.heal_s)


def _owed_until_s(plan: Plan) -> float:
    return inf if plan.profile.owed_until_s is None else plan.profile.owed_until_s


def objections(plan: Plan) -> frozenset[str]:
    """Why `plan` makes no sense: a fault without what it needs to take effect, or nothing to deliver."""
    found = {f"{fault.fault}: {reason}" for fault in plan.faults for reason in _lacks(plan, fault)}
    if not any(each.do not in CANCELS and not each.rolled_back and each.do != "migrate" for each in plan.operations):
        found.add("nothing is scheduled")
    return frozenset(found)


def _lacks(plan: Plan, fault: PlannedFault) -> Iterator[str]:
    if fault.kind == "client_kill" and not any(_commits_while(each, fault) for each in plan.operations):
        yield f"no operation of {fault.target} is committed in time"
    if fault.kind in WORKER_FAULTS and _is_missing(plan, fault):
        yield f"there is no {fault.target}"
    if fault.target in PHASE_OF_TARGET:
        until_s = fault.inject_s + max(HIT_WITHIN_S, fault.heal_s - fault.inject_s)
        if _due_between(plan, fault.inject_s - POLL_INTERVAL_S * plan.slow, until_s) < HIT_IN_DELIVERY:
            yield "too few deliveries"
    if fault.kind.startswith("gateway_") and not _due_between(plan, 0.0, fault.heal_s, only=fault.only):
        yield "no delivery"


def _is_missing(plan: Plan, fault: PlannedFault) -> bool:
    """Return True if the fault is for a worker by name, and the plan has too few of them."""
    number = fault.target.rpartition("-")[2]
    added = [each.target for each in plan.faults if each.kind == "worker_added"]
    return number.isdecimal() and int(number) > plan.workers and fault.target not in added


def _commits_while(operation: PlannedOperation, fault: PlannedFault) -> bool:
    mine = f"client-{operation.client}" == fault.target and not operation.rolled_back
    return mine and operation.do != "migrate" and fault.inject_s <= operation.at_s < fault.heal_s


def _due_between(plan: Plan, start_s: float, end_s: float, *, only: tuple[str, ...] = ()) -> int:
    """The number of notifications due in this time whose keys begin with one of `only`, or all."""
    users: dict[Subject, set[int]] = {}
    due: dict[Subject, set[float]] = {}
    for each in plan.operations:
        if each.rolled_back or each.do == "migrate":
            continue
        users.setdefault(subject(each), set()).update(each.users)
        if each.due_s is not None:
            due.setdefault(subject(each), set()).add(each.due_s)
    return sum(
        sum(not only or key.startswith(only) for key in _keys(which, users[which]))
        for which, times in due.items()
        if any(start_s <= at_s <= end_s for at_s in times)
    )


def _keys(which: Subject, users: Collection[int]) -> list[str]:
    kind, number = which
    return [f"{kind}:{number}"] if kind else [f"event-reminder:{number}:{user}" for user in users]


def only_with(plan: Plan, wanted: Subject) -> Plan:
    """`plan` with the operations on `wanted`, and with as few others as give each fault what it needs."""
    groups: dict[Subject, list[PlannedOperation]] = {}
    for each in plan.operations:
        groups.setdefault(subject(each), []).append(each)
    return _supported(plan, groups, wanted)


def with_few(plan: Plan, wanted: Subject, users: Sequence[int]) -> Plan:
    """`plan` with as few of the participants of the event `wanted` as its faults need, the first of `users` first."""
    everyone = recipients(plan)
    others = [each for each in everyone if each[0] != wanted]
    here = sorted((user for which, user in everyone if which == wanted), key=lambda user: user not in users[:1])
    for number in range(1, len(here)):
        few = with_recipients(plan, [*others, *((wanted, user) for user in here[:number])])
        if len(few.operations) == len(plan.operations) and objections(few) <= objections(plan):
            return few
    return plan


def _supported(plan: Plan, groups: Mapping[Subject, list[PlannedOperation]], wanted: Subject) -> Plan:
    """`plan` with the operations on `wanted`, and with as few others as give each fault what it needs."""
    kept = list(groups[wanted])
    accepted = objections(plan)
    while missing := objections(with_operations(plan, kept)) - accepted:
        lessened = {
            which: (len(missing - objections(with_operations(plan, [*kept, *group]))), sum(len(o.users) for o in group))
            for which, group in groups.items()
        }
        best = max(lessened, key=lambda which: lessened[which])
        if not lessened[best][0]:
            break
        kept += groups[best]
    return with_operations(plan, kept)
