"""What the scheduler of every design must do, without any worker: the promises of `duetime conform`."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Engine

from duetime import registry
from duetime.conformance import PREMISE, PROMISES, Conformance
from duetime.settings import Settings

# Not the poller: its schedule() stores nothing, because it reads the application's tables.
WITH_A_STORE = [name for name in registry.names() if not name.startswith("pull_worker")]


def conformance(name: str, settings: Settings, engine: Engine) -> Conformance:
    design = registry.load(name)
    design.install(engine)
    return Conformance(design, replace(settings, design=name), engine)


@pytest.mark.parametrize("name", WITH_A_STORE)
def test_every_design_keeps_each_promise_that_its_guarantees_make(
    name: str, settings: Settings, engine: Engine
) -> None:
    design = conformance(name, settings, engine)
    guarantees = registry.load(name).guarantees

    tested = {promise.name: design.test(promise) for promise in PROMISES}

    expected = {promise.name: "not promised" if promise.not_promised(guarantees) else "kept" for promise in PROMISES}
    assert {name: each.state for name, each in tested.items()} == expected, [*tested.values()]


def test_a_poller_promises_to_store_nothing(settings: Settings, engine: Engine) -> None:
    poller = conformance("pull_worker", settings, engine)

    states = {poller.test(promise).state for promise in PROMISES}

    assert poller.test(PREMISE).state == "not promised"
    assert states == {"kept", "not promised", "not tested"}  # install() can be repeated
