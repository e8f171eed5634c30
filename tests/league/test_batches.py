"""What runs side by side in a league."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from duetime import registry
from duetime.harness.plan import lookup
from duetime.harness.processes.services import Services
from duetime.harness.runs.cell import Cell
from duetime.league.matrix import AT_ONCE, TOO_LATE, UNPUNCTUAL_S, Matrix, Place, _batches, estimate_s
from tests.league.cells import judged

DESIGNS = [registry.load(name) for name in ("push_readmodel", "pull_worker", "oban_style_queue", "reference")]


def places(*scenarios: str, seeds: int = 3) -> list[Place]:
    return Matrix(DESIGNS, list(map(lookup.named, scenarios)), range(1, seeds + 1), Path("nowhere")).places


def test_every_place_is_in_one_batch() -> None:
    every = places("calm", "crash", "downtime", "more_servers", "burst", "old_transaction", "clock_skew")

    found = [place for batch in _batches(every) for place in batch]

    def key(place: Place) -> tuple[str, str, int]:
        return place.scenario.name, place.design.name, place.seed

    assert sorted(map(key, found)) == sorted(map(key, every))


def test_half_of_a_batch_is_of_another_scenario_that_takes_about_as_long() -> None:
    batches = _batches(places("clock_skew", "calm", "more_servers", "rolling_deploy"))

    assert [{place.scenario.name for place in batch} for batch in batches] == (
        [{"calm", "more_servers"}] * 3 + [{"clock_skew", "rolling_deploy"}] * 3
    )
    for batch in batches:
        assert len(batch) == AT_ONCE
        assert sum(place.scenario.name == batch[0].scenario.name for place in batch) == AT_ONCE / 2


@pytest.mark.parametrize(("scenario", "at_once"), [("burst", 1), ("old_transaction", 3)])
def test_a_scenario_that_others_would_disturb_has_batches_of_its_own_at_the_end(scenario: str, at_once: int) -> None:
    batches = _batches(places(scenario, "calm"))

    alone = [batch for batch in batches if any(place.scenario.name == scenario for place in batch)]
    assert alone == batches[-len(alone) :]
    assert {place.scenario.name for batch in alone for place in batch} == {scenario}
    assert max(map(len, alone)) == at_once


def test_an_estimate_is_the_sum_of_the_longest_of_each_batch() -> None:
    longest_s = lookup.named("more_servers").plan(1).judged_until_s()

    assert longest_s < estimate_s(places("calm", "more_servers", seeds=1)) < longest_s + 30


def test_a_design_that_keeps_others_waiting_runs_beside_its_like_after_all_others() -> None:
    late = replace(DESIGNS[0], name="late", guarantees=replace(DESIGNS[0].guarantees, punctual_to_s=UNPUNCTUAL_S + 1))
    scenarios = [lookup.named(name) for name in ("calm", "crash", "burst", "downtime")]
    batches = _batches(Matrix([late, *DESIGNS], scenarios, range(1, 4), Path("nowhere")).places)

    at = [number for number, batch in enumerate(batches) if any(place.design is late for place in batch)]
    of_burst = [number for number in at if batches[number][0].scenario.name == "burst"]
    rest = [batches[number] for number in at if number not in of_burst]
    assert len(of_burst) == 3
    assert rest == batches[-2:]
    assert all(place.design is late for batch in rest for place in batch)


def test_fewer_at_once_applies_to_every_scenario() -> None:
    batches = _batches(places("calm", "crash", "burst", "old_transaction"), 2)

    assert max(map(len, batches)) == 2
    assert [len(batch) for batch in batches if batch[0].scenario.name == "burst"] == [1] * 12


def test_all_seeds_are_repeated_of_what_was_once_later_than_it_guarantees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cell(place: Place) -> Cell | None:
        late = place.seed == 2 and place.scenario.name == "calm" and place.design.name in ("pull_worker", "reference")
        _, found = judged(place.design.name, place.scenario.name, place.seed, late=int(late))
        return replace(found, within_guarantees=not (late and place.design.name == "pull_worker"))

    matrix = Matrix(DESIGNS, [lookup.named("calm"), lookup.named("crash")], [1, 2, 3], tmp_path)
    monkeypatch.setattr(matrix, "cells", lambda _services: [(place, cell(place)) for place in matrix.places])

    again = matrix.to_run(Services(tmp_path), frozenset({TOO_LATE}))

    assert [(place.design.name, place.scenario.name, place.seed) for place in again] == [
        ("pull_worker", "calm", seed) for seed in (1, 2, 3)
    ]
    assert not matrix.to_run(Services(tmp_path), frozenset())
