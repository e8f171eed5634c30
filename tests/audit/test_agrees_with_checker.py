"""Random histories: what the audit proves of their rows, the checker proves of the whole record, and vice versa."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

from duetime.audit.judge import Data, Judge
from duetime.audit.keys import Revisions, by_key
from duetime.audit.rows import BadRows, Delivered, Promised
from duetime.audit.tally import Tally
from duetime.audit.terms import Terms
from duetime.audit.wording import Witness
from duetime.checker import judge_history
from duetime.checker.labels import DELIVERY_VIOLATIONS
from duetime.history import Closed, History, Operation
from tests.checker.correct_worlds import correct_world
from tests.checker.random_histories import random_history

START = 10**18
HISTORIES = 1500
Violations = Counter[tuple[str, str]]
"""Kinds of violation, each with its op."""


def answered(history: History) -> History:
    """The history without what production cannot tell: keys with unanswered calls, faults on some keys, starvation."""
    unanswered = {o.key for o in history.operations.values() if o.answer == "info"}
    operations = {op: o for op, o in history.operations.items() if o.key not in unanswered}
    faults = [
        replace(fault, only=(), healed_ns=min(fault.healed_ns, fault.injected_ns + 10**11)) for fault in history.faults
    ]
    plan = replace(history.plan, recovers_within_ns=0)
    closed = history.closed or Closed(30, None, workers_alive=True)
    return replace(
        history,
        operations=operations,
        deliveries=[d for d in history.deliveries if d.op.rpartition("/")[0] not in unanswered],
        faults=faults,
        plan=plan,
        canaries=history.canaries[:1] if history.canaries and not history.canaries[0].at_ns else [],
        closed=replace(closed, at_ns=closed.at_ns + 10**12, pending=None, after_stop=None, unlisted=""),
    )


def audited(
    history: History, random: Random, *, revisions: Revisions, tolerance: int, skew: int = 0, complete: bool = True
) -> tuple[Violations, set[str], Tally]:
    """Audit the rows that production would have kept: one instant of each call, and the gateway's clock off by `skew`.

    Returns the violations, the ops of which something is unknown, and the tally.
    """
    assert history.closed
    promises = [_promise(o, random, revisions) for o in history.operations.values() if o.answer == "ok"]
    deliveries = [
        Delivered(key, int(revision) if revisions.delivered else None, START + d.at_ns + skew, d.line)
        for d, (key, _, revision) in ((d, d.op.rpartition("/")) for d in history.deliveries)
    ]
    random.shuffle(promises)
    random.shuffle(deliveries)
    profile, tally = history.plan.profile, Tally(keep=1000)
    terms = Terms(
        lateness_limit_ns=profile.lateness_limit_ns,
        early_tolerance_ns=profile.early_tolerance_ns,
        in_flight_ns=profile.in_flight_allowance_ns,
        clock_tolerance_ns=tolerance,
        recovery_ns=0,
        outages=tuple(
            (START + f.injected_ns, START + f.healed_ns + profile.recovery_budget_ns.get(f.kind, 0))
            for f in history.faults
        ),
        assumed=frozenset({"complete"} if complete else ()),
    )
    data = Data(
        revisions=revisions,
        cancels=True,
        bad_promised=BadRows(),
        bad_delivered=BadRows(),
        from_ns=0,
        to_ns=START + history.closed.at_ns,
    )
    judge = Judge(terms, data, tally, Witness(terms, "promised", "delivered", None, data.to_ns))
    judge.judge(by_key(promises, deliveries, revisions=revisions, clock_tolerance_ns=tolerance))
    found, unknown = Violations(), set()
    for kind, examples in tally.examples().items():
        for one in examples:
            op = f"{one.key}/{one.revision}"
            if kind in ("missed", *DELIVERY_VIOLATIONS):
                found[kind, op] += 1
            else:
                unknown.add(op)
    return found, unknown, tally


def _promise(o: Operation, random: Random, revisions: Revisions) -> Promised:
    at_ns = START + random.randint(o.invoked_ns, o.answered_ns)
    revision = o.revision if revisions.promised else None
    if o.verb == "cancel":
        return Promised(o.key, revision, None, None, at_ns, o.line)
    return Promised(o.key, revision, START + o.due_ns, at_ns, None, o.line)


def judged(history: History) -> Violations:
    results = judge_history(history)
    found = Violations((item.label, item.delivery.op) for item in results.labelled if item.label in DELIVERY_VIOLATIONS)
    return found + Violations(("missed", op) for op, state in results.states.items() if state == "missed")


def longest_call(history: History) -> int:
    return max((o.answered_ns - o.invoked_ns for o in history.operations.values()), default=0)


def test_what_the_audit_proves_the_checker_proves_and_what_it_passes_the_checker_passes() -> None:
    seen: Counter[str] = Counter()
    for seed in range(HISTORIES):
        history = answered(random_history(Random(seed)))
        expected = judged(history)
        found, unknown, _ = audited(
            history, Random(seed), revisions=Revisions(True, True), tolerance=longest_call(history)
        )

        accused = {op for _, op in expected}
        assert {op for _, op in found} <= accused, seed
        assert accused <= {op for _, op in found} | unknown, seed
        seen.update(kind for kind, _ in found)
        seen["unknown"] += bool(unknown)
        seen["pass"] += not found and not unknown
    assert min(seen[kind] for kind in ("missed", "pass", "unknown", *DELIVERY_VIOLATIONS)) > 5, seen


def test_a_correct_world_is_never_accused() -> None:
    for seed in range(HISTORIES):
        random = Random(seed)
        world = correct_world(random)
        history = answered(replace(world.history()))
        skew = random.randrange(-(10**9), 10**9)
        tolerance = max(longest_call(history), abs(skew))  # of the calls' times, and of the gateway's clock
        kinds = [Revisions(True, True), Revisions(True, False)]
        if max(Counter(o.key for o in history.operations.values() if o.verb == "schedule").values(), default=0) < 2:
            kinds.append(Revisions(False, False))
        for revisions in kinds:
            found, _, _ = audited(history, random, revisions=revisions, tolerance=tolerance, skew=skew, complete=False)
            assert not found, (seed, revisions)
