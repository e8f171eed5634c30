"""The violations that guarantees cover, one by one, and the exit status that follows from cells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from duetime.checker import VIOLATIONS, judge_history
from duetime.checker.in_memory import PROFILE, PUNCTUAL_CANARY
from duetime.cli.failing import Failing
from duetime.faults.fault import FaultKind
from duetime.harness.plan.plan import Environment, Persistence, Plan, PlannedFault, PlannedOperation, Profile
from duetime.harness.runs.cell import Cell, Outcome
from duetime.harness.runs.guarantees import explained, not_covered, remark_on
from duetime.history import Closed, History, RecordedPlan, StoredEntry, assemble
from duetime.history.records import nanoseconds
from duetime.interface import Guarantees
from tests.checker.small_histories import Record, cancelled, delivery, fault, invoke, numbered, ok, scheduled

AT_LEAST_ONCE = Guarantees(delivery="at_least_once", transactional=True, cancels=True)
AT_MOST_ONCE = Guarantees(delivery="at_most_once", transactional=False, cancels=False)
NOTHING = Guarantees(delivery="nothing", transactional=True, cancels=True)
WITHOUT_FAULTS = replace(NOTHING, delivery="once_without_faults")
IN_BROKER = replace(AT_LEAST_ONCE, as_durable_as="broker")
KILL = fault(inject_s=5.0, healed_s=8.0)
A = scheduled("a/1", due_s=4.9)
TWICE = [delivery("a/1", at_s=4.9), delivery("a/1", at_s=5.4, worker="worker-2")]


def cell(outcome: Outcome, *, within_guarantees: bool | None) -> Cell:
    return Cell(
        design="d",
        scenario="s",
        seed=1,
        outcome=outcome,
        within_guarantees=within_guarantees,
        explanation="",
        weakness="",
        run_dir=Path("run"),
        violations={"missed": 1} if outcome == "fail" else {},
    )


def history_of(calls: list[Record], deliveries: list[Record], faults: list[Record], closed: Closed | None) -> History:
    return assemble(
        RecordedPlan.from_json({"profile": {**PROFILE, "recovery_budget_s": {"cut": 2.0, "broker_kill": 2.0}}}),
        lines={
            "history.jsonl": enumerate(numbered(calls), start=1),
            "deliveries.jsonl": enumerate([*deliveries, PUNCTUAL_CANARY], start=1),
            "faults.jsonl": enumerate(faults, start=1),
            "clock.jsonl": [(1, {"wall_ns": 0, "mono_ns": 0})],
        },
        closed=closed or Closed(60 * 10**9, {}, workers_alive=True),
    )


def uncovered(
    guarantees: Guarantees,
    calls: list[Record],
    deliveries: list[Record],
    faults: list[Record] | None = None,
    *,
    closed: Closed | None = None,
    persistence: Persistence = "default",
    visibility_timeout_s: float = 3600.0,
    size_s: float = 0.0,
    **profile: Any,
) -> list[str] | None:
    history = history_of(calls, deliveries, faults or [], closed)
    kinds: dict[str, FaultKind] = {line["fault"]: line["kind"] for line in faults or []}
    plan = Plan(
        scenario="s",
        seed=1,
        workers=1,
        profile=Profile(lateness_limit_s=2, **profile),
        environment=Environment(broker_persistence=persistence, visibility_timeout_s=visibility_timeout_s),
        required_faults=(),
        operations=[PlannedOperation(at_s=0, client=0, do="create_event", event=1, due_s=5)],
        faults=[
            PlannedFault(fault=name, kind=kind, target="worker-1", inject_s=1, heal_s=2, size_s=size_s)
            for name, kind in kinds.items()
        ],
    )
    return not_covered(guarantees, plan, history, judge_history(history))


@pytest.mark.parametrize("kind", ["kill", "deploy_kill"])
def test_a_duplicate_is_covered_if_the_worker_of_the_first_delivery_was_killed_before_it_could_acknowledge(
    kind: str,
) -> None:
    assert uncovered(AT_LEAST_ONCE, A, TWICE, fault(kind=kind, inject_s=5.0, healed_s=8.0)) == []


@pytest.mark.parametrize(
    ("first_s", "again_s", "worker", "faults"),
    [
        (4.9, 5.4, "worker-1", []),
        (4.9, 4.95, "worker-1", KILL),  # again before the kill
        (4.45, 5.4, "worker-1", KILL),  # acknowledged long before the kill
        (8.5, 8.6, "worker-1", KILL),  # by the next process
        (4.9, 5.4, "worker-2", KILL),  # by a worker that was not hit
        (4.9, 5.4, "worker-1", fault(kind="deploy", inject_s=5.0, healed_s=8.0)),
        (4.9, 5.4, "worker-2", fault(kind="deploy_kill", inject_s=5.0, healed_s=8.0)),  # ended in an orderly way
        (4.9, 5.4, "worker-1", fault(kind="gateway_slow", inject_s=5.0, healed_s=8.0)),
        (
            4.9,
            5.4,
            "worker-1",
            [{**line, "only": ["b"]} for line in fault(kind="gateway_refuse", inject_s=5, healed_s=8)],
        ),
    ],
)
def test_a_duplicate_that_no_fault_explains_is_not_covered(
    first_s: float, again_s: float, worker: str, faults: list[Record]
) -> None:
    calls = scheduled("a/1", due_s=first_s)
    deliveries = [delivery("a/1", at_s=first_s, worker=worker), delivery("a/1", at_s=again_s)]

    assert uncovered(AT_LEAST_ONCE, calls, deliveries, faults) == ["duplicate a/1"]


def test_a_fault_of_a_service_hits_every_worker_until_its_recovery_is_over() -> None:
    cut = fault(kind="cut", inject_s=5.0, healed_s=5.1)

    for first_s, expected in ((4.9, []), (7.5, []), (7.7, ["duplicate a/1"])):
        calls = scheduled("a/1", due_s=first_s)
        deliveries = [delivery("a/1", at_s=first_s, worker="worker-2"), delivery("a/1", at_s=first_s + 1)]
        assert uncovered(AT_LEAST_ONCE, calls, deliveries, cut) == expected


def test_a_worker_that_was_paused_after_its_claim_delivers_what_another_took_over() -> None:
    pause = fault(kind="pause", inject_s=4.8, healed_s=9.0)
    deliveries = [delivery("a/1", at_s=8.0, worker="worker-2"), delivery("a/1", at_s=9.1)]

    assert uncovered(AT_LEAST_ONCE, A, deliveries, pause) == []


def test_a_worker_that_crashed_after_a_fault_explains_a_duplicate_and_one_that_crashed_by_itself_does_not() -> None:
    cut = fault(kind="cut", inject_s=1.0, healed_s=1.1)
    crashed = Closed(60 * 10**9, {}, workers_alive=True, restarts=((5 * 10**9, "worker-1", 1),))

    assert uncovered(AT_LEAST_ONCE, A, TWICE, cut, closed=crashed) == []
    assert uncovered(AT_LEAST_ONCE, A, TWICE, closed=crashed) == ["duplicate a/1"]


def test_at_most_once_covers_no_duplicate_and_at_least_once_no_miss() -> None:
    assert uncovered(AT_MOST_ONCE, A, TWICE, KILL) == ["duplicate a/1"]
    assert uncovered(AT_LEAST_ONCE, A, [delivery("b/1", at_s=1)], KILL) == ["missed a/1", "phantom b/1"]


@pytest.mark.parametrize(
    ("due_s", "invoked_s", "faults", "covered"),
    [
        (5.5, 0.0, KILL, True),  # a worker may have held it when it was killed
        (4.0, 0.0, KILL, True),  # not yet late when the worker was killed
        (2.9, 0.0, KILL, False),  # late before
        (9.0, 6.0, KILL, False),  # scheduled after the kill
        (5.5, 0.0, [], False),
        (5.5, 0.0, fault(kind="deploy", inject_s=5.0, healed_s=8.0), False),
        (5.5, 0.0, fault(kind="deploy_kill", inject_s=5.0, healed_s=8.0), True),
        (9.0, 6.0, fault(kind="deploy_kill", inject_s=5.0, healed_s=8.0), False),  # scheduled after the kill
        (9.0, 6.0, fault(kind="cut", inject_s=5.0, healed_s=5.1), True),  # within its recovery
    ],
)
def test_a_miss_is_covered_if_a_fault_may_have_hit_the_worker_that_held_it(
    due_s: float, invoked_s: float, faults: list[Record], covered: bool
) -> None:
    missed = uncovered(AT_MOST_ONCE, scheduled("a/1", due_s=due_s, at_s=invoked_s), [], faults)

    assert missed == ([] if covered else ["missed a/1"])


def test_without_faults_is_covered_only_under_faults() -> None:
    lost = scheduled("b/1", due_s=6.0)

    assert uncovered(WITHOUT_FAULTS, [*A, *lost], TWICE, KILL) == []
    assert uncovered(WITHOUT_FAULTS, [*A, *lost], TWICE) == ["missed b/1", "duplicate a/1"]
    assert uncovered(WITHOUT_FAULTS, A, [delivery("a/1", at_s=9.0)]) == ["late a/1"]


def test_a_design_that_guarantees_nothing_covers_its_misses_duplicates_and_lateness() -> None:
    calls = [*A, *scheduled("b/1", due_s=5.0, at_s=0.2), *scheduled("c/1", due_s=5.0, at_s=0.4)]

    assert uncovered(NOTHING, calls, [*TWICE, delivery("b/1", at_s=9.0)]) == []


def test_what_will_repeat_is_covered_like_a_duplicate() -> None:
    entry = {"a/1": StoredEntry("row", "held", 300.0)}
    left = Closed(60 * 10**9, entry, workers_alive=True, after_stop=entry, cut_short=())

    assert uncovered(AT_LEAST_ONCE, A, [TWICE[0]], KILL, closed=left) == []
    assert uncovered(NOTHING, A, [TWICE[0]], closed=left) == []
    assert uncovered(AT_LEAST_ONCE, A, [TWICE[0]], closed=left) == ["will_repeat a/1"]
    assert uncovered(AT_MOST_ONCE, A, [TWICE[0]], KILL, closed=left) == ["will_repeat a/1"]

    kill, once = fault(kind="broker_kill", inject_s=5.0, healed_s=8.0), replace(AT_MOST_ONCE, as_durable_as="broker")
    assert uncovered(once, A, [TWICE[0]], kill, closed=left, persistence="rdb") == []
    assert uncovered(once, A, [TWICE[0]], kill, closed=left, persistence="aof") == ["will_repeat a/1"]
    # It comes back with nothing, or had come back before the delivery.
    assert uncovered(once, A, [TWICE[0]], kill, closed=left, persistence="none") == ["will_repeat a/1"]
    before = fault(kind="broker_kill", inject_s=1.0, healed_s=4.0)
    assert uncovered(once, A, [TWICE[0]], before, closed=left, persistence="rdb") == ["will_repeat a/1"]


def test_lateness_is_covered_up_to_the_documented_punctuality() -> None:
    punctual = replace(AT_LEAST_ONCE, punctual_to_s=5.0)

    assert uncovered(punctual, A, [delivery("a/1", at_s=10.4)]) == []
    assert uncovered(punctual, A, [delivery("a/1", at_s=10.5)]) == ["late a/1"]
    assert uncovered(AT_LEAST_ONCE, A, [delivery("a/1", at_s=7.0)]) == ["late a/1"]


@pytest.mark.parametrize(("at_s", "expected"), [(11.0, []), (11.1, ["late a/1"])])
def test_lateness_after_a_crash_is_covered_up_to_the_documented_recovery(at_s: float, expected: list[str]) -> None:
    recovers = replace(AT_LEAST_ONCE, recovers_within_s=4.0)
    killed = fault(inject_s=4.99, healed_s=5.2)

    assert uncovered(recovers, A, [delivery("a/1", at_s=at_s)], killed) == expected
    assert uncovered(recovers, A, [delivery("a/1", at_s=at_s)]) == ["late a/1"]


@pytest.mark.parametrize(("at_s", "expected"), [(8.5, []), (8.7, ["late a/1"])])
def test_what_was_scheduled_after_a_crash_waits_for_the_recovery_too_and_no_longer(
    at_s: float, expected: list[str]
) -> None:
    recovers = replace(AT_LEAST_ONCE, recovers_within_s=6.0)
    leader = fault(inject_s=0.5, healed_s=0.6)

    later = scheduled("a/1", due_s=4.9, at_s=1.0)

    assert uncovered(recovers, later, [delivery("a/1", at_s=at_s)], leader) == expected


@pytest.mark.parametrize(
    ("punctual_to_s", "recovers_within_s", "state", "expected"),
    [
        (5.0, 300.0, "held", []),
        (1.0, 300.0, "held", ["missed a/1"]),  # it was overdue before the fault
        (5.0, 50.0, "held", ["missed a/1"]),  # the run was long enough
        (5.0, 0.0, "held", ["missed a/1"]),
        (5.0, 300.0, "failed", ["missed a/1"]),
    ],
)
def test_a_miss_is_covered_if_what_was_late_as_documented_was_hit_and_the_run_ended_before_its_recovery(
    punctual_to_s: float, recovers_within_s: float, state: str, expected: list[str]
) -> None:
    guarantees = replace(AT_LEAST_ONCE, punctual_to_s=punctual_to_s, recovers_within_s=recovers_within_s)
    closed = Closed(60 * 10**9, {"a/1": StoredEntry("jobs", state)}, workers_alive=True)
    after_its_deadline = fault(inject_s=8.0, healed_s=9.0)

    assert uncovered(guarantees, A, [], after_its_deadline, closed=closed) == expected


def test_an_early_delivery_is_covered_up_to_what_is_documented() -> None:
    whole_seconds = replace(AT_LEAST_ONCE, early_by_s=1.0)

    assert uncovered(whole_seconds, A, [delivery("a/1", at_s=3.9)]) == []
    assert uncovered(whole_seconds, A, [delivery("a/1", at_s=3.8)]) == ["early a/1"]
    assert uncovered(AT_LEAST_ONCE, A, [delivery("a/1", at_s=3.9)]) == ["early a/1"]


def test_a_wrong_clock_covers_early_and_late_only_of_a_design_that_uses_the_workers_clock() -> None:
    skewed = fault(kind="clock", inject_s=1.0, healed_s=3.0)

    for due_by in ("workers", "either"):
        by_workers = replace(AT_LEAST_ONCE, due_by=due_by)
        assert uncovered(by_workers, A, [delivery("a/1", at_s=3.0)], skewed, size_s=2.0) == []
        assert uncovered(by_workers, A, [delivery("a/1", at_s=8.0)], skewed, size_s=-2.0) == []
        assert uncovered(by_workers, A, [delivery("a/1", at_s=1.0)], skewed, size_s=2.0) == ["early a/1"]
    clocks: tuple[Literal["database", "client"], ...] = ("database", "client")
    for other in clocks:
        guarantees = replace(AT_LEAST_ONCE, due_by=other)
        assert uncovered(guarantees, A, [delivery("a/1", at_s=3.0)], skewed, size_s=2.0) == ["early a/1"]


CANCELLED = [*scheduled("a/1", due_s=5.0), *cancelled("a/2", at_s=2.0)]
REPLACED = [*scheduled("a/1", due_s=5.0), *scheduled("a/2", due_s=9.0, at_s=2.0)]
BOTH = [delivery("a/1", at_s=5.0), delivery("a/2", at_s=9.0)]


def test_a_fault_undoes_a_cancel_only_after_the_cancel() -> None:
    forgets = replace(AT_LEAST_ONCE, cancels=False)

    deploy = fault(kind="deploy", inject_s=3.0, healed_s=3.0)
    assert uncovered(forgets, CANCELLED, [BOTH[0]], deploy) == []
    assert uncovered(forgets, REPLACED, BOTH, deploy) == []
    assert uncovered(AT_LEAST_ONCE, CANCELLED, [BOTH[0]], deploy) == ["phantom a/1"]
    before = fault(kind="deploy", inject_s=1.0, healed_s=1.5)
    assert uncovered(forgets, CANCELLED, [BOTH[0]], before) == ["phantom a/1"]
    assert uncovered(forgets, [], [delivery("x/1", at_s=5.0)], deploy) == ["phantom x/1"]


def test_a_design_without_a_cancel_delivers_what_was_cancelled_or_replaced_also_without_a_fault() -> None:
    without = replace(AT_LEAST_ONCE, has_cancel=False)

    assert uncovered(without, CANCELLED, [BOTH[0]]) == []
    assert uncovered(without, REPLACED, BOTH) == []
    assert uncovered(without, [], [delivery("x/1", at_s=5.0)]) == ["phantom x/1"]


def test_a_killed_client_loses_what_was_not_published_in_its_transaction() -> None:
    killed = fault(kind="client_kill", inject_s=1.9, healed_s=3.0)
    unanswered_cancel = [
        *scheduled("a/1", due_s=5.0), invoke("cancel", "a/2", at_s=1.905), ok("a/2", at_s=3.0)
    ]  # fmt: skip
    unanswered = [invoke("schedule", "b/1", due_s=5.0, at_s=1.905), ok("b/1", at_s=3.0)]
    published = replace(AT_LEAST_ONCE, transactional_cancel=False)

    assert uncovered(published, unanswered_cancel, [BOTH[0]], killed) == []
    assert uncovered(AT_LEAST_ONCE, unanswered_cancel, [BOTH[0]], killed) == ["phantom a/1"]
    assert uncovered(published, unanswered, [], killed) == ["missed b/1"]
    assert uncovered(replace(published, transactional=False), unanswered, [], killed) == []
    assert uncovered(replace(published, transactional=False), A, [], killed) == ["missed a/1"]
    assert replace(published, transactional_cancel=None).cancels_transactionally


def test_a_design_that_keeps_notifications_in_the_broker_guarantees_no_more_than_the_broker() -> None:
    kill = fault(kind="broker_kill", inject_s=3.0, healed_s=3.5)
    long_after = [delivery("a/1", at_s=2.0), delivery("a/1", at_s=9.0)]
    soon = scheduled("a/1", due_s=2.0)

    assert uncovered(IN_BROKER, A, [], kill, persistence="rdb") == []
    assert uncovered(IN_BROKER, A, [], kill, persistence="aof") == ["missed a/1"]
    assert uncovered(AT_LEAST_ONCE, A, [], kill, persistence="none") == ["missed a/1"]
    # A snapshot brings back what was acknowledged since.
    assert uncovered(IN_BROKER, soon, long_after, kill, persistence="rdb") == []
    assert uncovered(IN_BROKER, soon, long_after, kill, persistence="aof") == ["duplicate a/1"]
    # And what was cancelled since.
    assert uncovered(IN_BROKER, CANCELLED, [BOTH[0]], kill, persistence="rdb") == []
    assert uncovered(IN_BROKER, CANCELLED, [BOTH[0]], kill, persistence="aof") == ["phantom a/1"]
    assert uncovered(IN_BROKER, A, TWICE, visibility_timeout_s=4) == []
    assert uncovered(IN_BROKER, A, TWICE) == ["duplicate a/1"]


def test_a_run_that_measures_capacity_guarantees_no_speed() -> None:
    assert uncovered(AT_LEAST_ONCE, A, [delivery("a/1", at_s=9.0)], measures_capacity=True) == []
    assert uncovered(AT_LEAST_ONCE, A, [], measures_capacity=True) == []


def test_what_an_unknown_run_shows_is_compared_with_nothing() -> None:
    assert uncovered(AT_LEAST_ONCE, A, [delivery("a/1", at_s=5.0)], fault(inject_s=5.0, healed_s=None)) is None


def test_the_example_of_a_broken_guarantee_is_a_violation_that_breaks_it() -> None:
    calls = [*scheduled("a/1", due_s=4.9), *scheduled("b/1", due_s=4.9)]
    results = judge_history(history_of(calls, [delivery("a/1", at_s=4.0), delivery("b/1", at_s=9.0)], [], None))

    assert "For example: Early. " in explained(results, None)
    assert "For example: Late. " in explained(results, ["late b/1"])


def test_the_violations_that_are_not_covered_are_named() -> None:
    assert remark_on([]) == remark_on(None) == ""
    assert remark_on(["late a/1"]) == " Not covered by a guarantee: late a/1."
    assert remark_on([f"late a/{n}" for n in range(5)]).endswith("late a/0, late a/1, late a/2 and 2 more.")


@pytest.mark.parametrize(
    ("cells", "strict", "status"),
    [
        ([cell("pass", within_guarantees=True)], False, 0),
        ([cell("fail", within_guarantees=True)], False, 0),
        ([cell("fail", within_guarantees=True)], True, 1),
        ([cell("fail", within_guarantees=False), cell("unknown", within_guarantees=None)], False, 1),
        ([cell("pass", within_guarantees=True), cell("unknown", within_guarantees=None)], False, 3),
        ([cell("pass", within_guarantees=True), cell("not applicable", within_guarantees=None)], True, 0),
        ([cell("not applicable", within_guarantees=None)], False, 3),
    ],
)
def test_fail_outranks_unknown_and_unknown_outranks_pass(cells: list[Cell], strict: bool, status: int) -> None:
    assert Failing(kinds=frozenset(VIOLATIONS) if strict else None).status(cells) == status


def test_a_failure_without_a_stated_guarantee_says_so_and_not_that_it_proves_nothing() -> None:
    assert cell("fail", within_guarantees=None).promise_state == "failed"
    assert cell("unknown", within_guarantees=None).promise_state == "unknown"


def test_a_failure_is_allowed_only_if_nothing_of_the_run_is_unknown() -> None:
    failed = cell("fail", within_guarantees=True)

    assert failed.promise_state == "allowed"
    assert replace(failed, unproven=True).promise_state == "unknown"
    assert replace(failed, unproven=True, within_guarantees=False).promise_state == "BROKEN"


def test_only_the_named_kinds_fail_the_command() -> None:
    missed = cell("fail", within_guarantees=False)

    assert Failing(kinds=frozenset({"missed", "early"})).status([missed]) == 1
    assert Failing(kinds=frozenset({"duplicate"})).status([missed]) == 0


@pytest.mark.parametrize(
    ("kind", "older_s", "is_covered"),
    [
        ("end-trial", 10.6, True),
        ("end-trial", None, False),  # nothing had the effect
        ("end-trial", 12.0, False),  # the older one came later than a worker may take, and no fault explains it
        ("event-reminder", 10.6, False),  # a message: each revision leaves a record
    ],
)
def test_a_miss_is_covered_if_an_older_revision_had_the_only_effect(
    kind: str, older_s: float | None, is_covered: bool
) -> None:
    key = f"{kind}:1"
    calls = [*scheduled(f"{key}/1", due_s=10.0), *scheduled(f"{key}/2", due_s=11.0, at_s=10.3)]
    older = [] if older_s is None else [delivery(f"{key}/1", at_s=older_s)]

    found = uncovered(AT_MOST_ONCE, calls, older)

    assert (f"missed {key}/2" not in (found or [])) == is_covered


def lost(*, since_s: float, observed_s: float, healed_s: float, kind: str = "failover") -> list[Record]:
    """A failover that lost what was acknowledged in a period."""
    lines = fault(kind=kind, inject_s=since_s, healed_s=healed_s)
    for line in lines:
        if line["phase"] == "observed":
            line |= {"at_ns": nanoseconds(observed_s), "lost": {"bytes": 100, "since_ns": nanoseconds(since_s)}}
    return lines


@pytest.mark.parametrize(("called_s", "covered"), [(4.1, True), (4.9, True), (2.0, False), (6.5, False)])
@pytest.mark.parametrize("guarantees", [AT_LEAST_ONCE, IN_BROKER])
def test_what_the_database_acknowledged_and_lost_is_covered_and_nothing_else(
    guarantees: Guarantees, called_s: float, covered: bool
) -> None:
    failover = lost(since_s=4.0, observed_s=5.0, healed_s=6.0)

    found = uncovered(guarantees, scheduled("a/1", at_s=called_s, due_s=9.0), [], failover)

    assert found == ([] if covered else ["missed a/1"])


@pytest.mark.parametrize(
    ("guarantees", "called_s", "covered"),
    [
        (IN_BROKER, 4.1, True),
        (IN_BROKER, 4.9, True),
        (IN_BROKER, 2.0, False),
        (IN_BROKER, 6.5, False),
        (AT_LEAST_ONCE, 4.5, False),  # what it keeps in the database, the broker cannot lose
    ],
)
def test_what_the_broker_acknowledged_and_lost_is_covered_if_it_was_kept_there(
    guarantees: Guarantees, called_s: float, covered: bool
) -> None:
    failover = lost(since_s=4.0, observed_s=5.0, healed_s=6.0, kind="broker_failover")

    found = uncovered(guarantees, scheduled("a/1", at_s=called_s, due_s=9.0), [], failover)

    assert found == ([] if covered else ["missed a/1"])


@pytest.mark.parametrize(("away_s", "expected"), [((4.0, 9.0), []), ((1.0, 2.0), ["late a/1"])])
def test_lateness_while_the_database_is_far_is_covered_and_a_loss_is_not(
    away_s: tuple[float, float], expected: list[str]
) -> None:
    """How many round trips a design can make in a second is no guarantee of its own."""
    far = fault(kind="far_database", inject_s=away_s[0], healed_s=away_s[1])

    assert uncovered(AT_LEAST_ONCE, A, [delivery("a/1", at_s=30.0)], far) == expected
    assert uncovered(AT_LEAST_ONCE, A, [], far) == ["missed a/1"]


def test_a_failover_that_lost_nothing_covers_no_miss() -> None:
    failover = fault(kind="failover", inject_s=4.0, healed_s=6.0)

    assert uncovered(AT_LEAST_ONCE, scheduled("a/1", at_s=4.0, due_s=9.0), [], failover) == ["missed a/1"]


@pytest.mark.parametrize(("delivered_s", "covered"), [(4.2, True), (4.9, True), (2.0, False)])
def test_what_was_delivered_before_a_lost_commit_comes_again(delivered_s: float, covered: bool) -> None:
    """Also if the design claims before it delivers: the claim is the commit that is lost."""
    failover = lost(since_s=4.0, observed_s=5.0, healed_s=6.0)
    twice = [delivery("a/1", at_s=delivered_s), delivery("a/1", at_s=6.5)]

    found = uncovered(AT_MOST_ONCE, scheduled("a/1", due_s=delivered_s), twice, failover)

    assert found == ([] if covered else ["duplicate a/1"])


@pytest.mark.parametrize(("cancelled_s", "covered"), [(4.2, True), (2.0, False)])
def test_a_lost_cancel_is_covered(cancelled_s: float, covered: bool) -> None:
    failover = lost(since_s=4.0, observed_s=5.0, healed_s=6.0)
    calls = [*scheduled("a/1", due_s=9.0), *cancelled("a/2", at_s=cancelled_s)]

    found = uncovered(AT_LEAST_ONCE, calls, [delivery("a/1", at_s=9.0)], failover)

    assert found == ([] if covered else ["phantom a/1"])


@pytest.mark.parametrize(("again_s", "covered"), [(6.5, True), (9.0, False)])
def test_a_worker_on_the_old_primary_delivers_again_whatever_its_design_records(again_s: float, covered: bool) -> None:
    two_primaries = fault(kind="old_primary_returns", inject_s=6.0, healed_s=7.0)
    twice = [delivery("a/1", at_s=5.0), delivery("a/1", at_s=again_s, worker="worker-2")]

    found = uncovered(AT_MOST_ONCE, scheduled("a/1", due_s=5.0), twice, two_primaries)

    assert found == ([] if covered else ["duplicate a/1"])


@pytest.mark.parametrize(("due_s", "covered"), [(6.5, True), (3.0, False)])
def test_a_worker_on_the_old_primary_takes_what_was_scheduled_since_for_cancelled(due_s: float, covered: bool) -> None:
    two_primaries = fault(kind="old_primary_returns", inject_s=6.0, healed_s=7.0)

    found = uncovered(IN_BROKER, scheduled("a/1", due_s=due_s), [], two_primaries)

    assert found == ([] if covered else ["missed a/1"])
