"""Each promise that `duetime conform` tests: a correct scheduler keeps it, and a scheduler that breaks it is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine

from duetime.conformance import INSTALL, PREMISE, PROMISES, Conformance, Rule
from duetime.errors import CannotBeListed
from duetime.interface import Pending, Scheduler
from duetime.settings import Settings
from tests.designs import small_scheduler as small

BREAKS: dict[str, Callable[[Settings], Scheduler]] = {
    "a notification is pending after the commit": small.StoresNothing,
    "it is not pending before the commit": small.StoresAtOnce,
    "it is not pending after a rollback": small.StoresAtOnce,
    "the calls leave the transaction to the caller": small.Commits,
    "a savepoint that is rolled back undoes its calls, and no others": small.ListensToSqlalchemy,
    "a released savepoint is no commit": small.ListensToSqlalchemy,
    "nothing is pending after a test suite rolled its connection back": small.ListensToSqlalchemy,
    "a cancel removes its key, and no other": small.CancelsAll,
    "a cancel that is rolled back cancels nothing": small.CancelsAtOnce,
    "a cancel spares its own revision and newer ones": small.CancelsNewer,
    "a cancelled key can be scheduled again": small.CancelsForEver,
    "a newer revision replaces the older": small.KeepsOlder,
    "an older revision changes nothing while a newer one is pending": small.TakesOlder,
    "a repeated call adds nothing": small.AddsAgain,
    "schedule_many() stores the newest of each key": small.StoresFirstOfMany,
    "every allowed key is kept apart from others": small.LowersKeys,
}


@pytest.fixture(autouse=True)
def installed(engine: Engine) -> None:
    small.install(engine)


def test_a_correct_scheduler_keeps_every_promise(settings: Settings, engine: Engine) -> None:
    conformance = Conformance(small.design, settings, engine)

    assert [each for each in map(conformance.test, PROMISES) if each.state != "kept"] == []


@pytest.mark.parametrize("promise", [each for each in PROMISES if each is not INSTALL], ids=lambda each: each.name)
def test_a_scheduler_that_breaks_a_promise_is_found_and_told_what_to_read(
    promise: Rule, settings: Settings, engine: Engine
) -> None:
    broken = replace(small.design, scheduler=BREAKS[promise.name])

    tested = Conformance(broken, settings, engine).test(promise)

    assert tested.state == "BROKEN"
    assert tested.evidence.startswith("after ") and "schedule" in tested.evidence, tested
    assert tested.read == promise.read


def test_the_evidence_is_the_calls_and_what_is_pending(settings: Settings, engine: Engine) -> None:
    broken = replace(small.design, scheduler=small.TakesOlder)
    [promise] = [each for each in PROMISES if each.name.startswith("an older revision")]

    tested = Conformance(broken, settings, engine).test(promise)

    assert tested.evidence == "after schedule a/2, commit, schedule a/1, commit: pending() has a/1 instead of a/2"


def test_an_error_of_the_design_is_evidence(settings: Settings, engine: Engine) -> None:
    broken = replace(small.design, scheduler=small.Raises)
    [promise] = [each for each in PROMISES if each.name.startswith("a cancel spares")]

    tested = Conformance(broken, settings, engine).test(promise)

    assert tested.state == "BROKEN"
    assert tested.evidence.startswith("after schedule a/2, commit, cancel a below revision 2: KeyError: 'conform:")


def test_an_install_that_cannot_be_repeated_is_found(settings: Settings, engine: Engine) -> None:
    broken = replace(small.design, install=small.install_once)

    tested = Conformance(broken, settings, engine).test(INSTALL)

    assert tested.state == "BROKEN"
    assert 'DuplicateTable) relation "small" already exists' in tested.evidence


def test_without_a_visible_store_only_that_is_accused(settings: Settings, engine: Engine) -> None:
    broken = replace(small.design, scheduler=small.StoresNothing)
    conformance = Conformance(broken, settings, engine)

    states = {promise.name: conformance.test(promise).state for promise in PROMISES}

    assert states.pop(PREMISE.name) == "BROKEN"
    assert states.pop(INSTALL.name) == "kept"
    assert set(states.values()) == {"not tested"}


def test_a_store_that_cannot_be_listed_is_not_accused(settings: Settings, engine: Engine) -> None:
    def unlisted(_settings: Settings, _engine: Engine) -> list[Pending]:
        raise CannotBeListed("it lists no messages")

    conformance = Conformance(replace(small.design, pending=unlisted), settings, engine)

    assert {conformance.test(promise).state for promise in PROMISES} == {"kept", "not tested"}
    assert conformance.test(PREMISE).evidence == "pending() cannot tell: it lists no messages"


@pytest.mark.parametrize(
    ("weaker", "not_promised"),
    [({"cancels": False}, 4), ({"has_cancel": False}, 4), ({"unique_by_key": False}, 1)],
)
def test_what_the_guarantees_leave_out_is_not_tested(
    weaker: dict[str, Any], not_promised: int, settings: Settings, engine: Engine
) -> None:
    guarantees = replace(small.design.guarantees, **weaker)
    conformance = Conformance(replace(small.design, guarantees=guarantees), settings, engine)

    tested = [conformance.test(promise) for promise in PROMISES]

    assert sum(each.state == "not promised" for each in tested) == not_promised
    assert all(f"{name}=" in each.evidence for each in tested if each.state == "not promised" for name in weaker)
