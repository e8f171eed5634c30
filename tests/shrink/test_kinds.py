"""Which violation counts as the same."""

from __future__ import annotations

from dataclasses import replace

from duetime.shrink.kinds import Kind, gravest
from tests.shrink.fake_runs import MISSED

UNDER_FAULT = replace(MISSED, under_fault=True)


def test_the_same_label_place_and_promise_is_the_same_kind() -> None:
    assert MISSED.is_shown_by(frozenset({Kind(label="late"), MISSED}))
    assert not MISSED.is_shown_by(frozenset({replace(MISSED, place="stuck")}))
    assert not MISSED.is_shown_by(frozenset({replace(MISSED, covered=False)}))
    assert not MISSED.is_shown_by(frozenset())


def test_an_unknown_run_shows_nothing() -> None:
    assert not MISSED.is_shown_by(None)


def test_a_violation_under_a_fault_is_not_shown_by_one_without() -> None:
    assert not UNDER_FAULT.is_shown_by(frozenset({MISSED}))
    assert MISSED.is_shown_by(frozenset({UNDER_FAULT}))


def test_by_default_a_broken_guarantee_is_searched_for_then_the_gravest_then_the_most_frequent() -> None:
    found = {replace(MISSED, place="stuck"): ["a/1"], MISSED: ["b/1", "c/1"], Kind(label="late", covered=True): ["d/1"]}

    assert gravest(found) == MISSED
    broken = Kind(label="late", covered=False)
    assert gravest({**found, broken: ["e/1"]}) == broken
