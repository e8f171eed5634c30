"""A small plan in one sentence."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from duetime.faults.fault import FaultKind
from duetime.harness.plan.plan import PlannedFault
from duetime.runtime.delivery_phases import PHASE_OF_TARGET
from duetime.shrink.kinds import Kind
from duetime.shrink.reductions import with_operations, with_workers
from duetime.shrink.story import BEGINS, CHANGES, PHASES, size, story
from tests.shrink.fake_runs import MISSED, planned
from tests.shrink.test_reductions import CANCELLED, CREATED, KILL, LEFT, MOVED, OTHER, plan_of

ONE = replace(CREATED, users=(7,), due_s=5.6)


def test_one_reminder_in_a_downtime() -> None:
    plan = plan_of(KILL, operations=(ONE,))

    assert story(plan, MISSED) == (
        "Missed (lost): one reminder, due 0.4 s after the only worker was killed; restart 3.4 s later."
    )
    assert size(plan) == "1 operation, 1 fault, 1 worker, 12.6 s"


def test_several_reminders_some_of_them_changed_and_two_workers() -> None:
    plan = with_workers(plan_of(KILL, operations=(CREATED, OTHER, MOVED)), 2)

    assert story(plan, Kind(label="duplicate")) == (
        "Duplicate: three reminders, moved 3.2 s before and due 0.4 to 1.2 s after all 2 workers were killed; "
        "restart 3.4 s later."
    )


def test_a_cancelled_one_before_the_fault() -> None:
    plan = plan_of(replace(KILL, inject_s=6.0), operations=(ONE, CANCELLED))

    assert story(plan, Kind(label="phantom")) == (
        "Phantom: one reminder, cancelled 3 s before and due 0.4 s before the only worker was killed; "
        "restart 2.6 s later."
    )


def test_without_a_fault() -> None:
    plan = plan_of(operations=(CREATED, LEFT))

    assert story(plan, Kind(label="duplicate")) == (
        "Duplicate: two reminders, cancelled 1.5 s after and due 4.4 s after it was scheduled."
    )


def test_the_kill_of_a_client_is_told_from_the_commit() -> None:
    kill = PlannedFault(fault="f1", kind="client_kill", target="client-0", inject_s=0.9, heal_s=2.4)

    assert story(plan_of(kill, operations=(ONE,)), MISSED) == (
        "Missed (lost): one reminder, whose client was killed right after the commit; restart 1.5 s later."
    )
    assert story(plan_of(kill, operations=(ONE, OTHER)), MISSED) == (
        "Missed (lost): two reminders, whose client was killed right after one of the commits; restart 1.5 s later."
    )


@pytest.mark.parametrize(("target", "when"), PHASES.items())
def test_a_worker_hit_in_a_delivery(target: str, when: str) -> None:
    plan = with_workers(plan_of(replace(KILL, target=target), operations=(CREATED,)), 2)

    assert story(plan, Kind(label="missed", place="stuck")) == (
        f"Missed (stuck): two reminders, due at the same time; one of 2 workers was killed {when}; restart 3.4 s later."
    )
    assert set(PHASES) == set(PHASE_OF_TARGET)


def test_two_faults_have_their_times() -> None:
    plan = with_operations(planned("clock_skew"), planned("clock_skew").operations[:1])

    text = story(plan, Kind(label="early"))

    assert "the clock of worker-1 was set wrong by 2 s at 3.1 s" in text
    assert "the clock of worker-1 was set wrong by -2 s at 10.1 s" in text


@pytest.mark.parametrize("kind", get_args(FaultKind))
def test_every_kind_of_fault_has_its_words(kind: FaultKind) -> None:
    fault = PlannedFault(fault="f1", kind=kind, target="worker-1", inject_s=2.0, heal_s=4.0, size_s=1.5)

    text = story(plan_of(fault, operations=(ONE,)), MISSED)

    assert "{" not in text
    assert text.endswith(".")
    assert set(BEGINS) == set(get_args(FaultKind))


def test_every_change_has_its_word() -> None:
    assert {each.do for each in planned("use_cases").operations} <= {"create_event", "begin", *CHANGES}
