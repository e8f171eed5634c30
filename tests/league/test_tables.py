"""The tables of docs/league.md: what a cell says, and the mechanism that each failing cell needs."""

from __future__ import annotations

import json
from dataclasses import replace
from fnmatch import filter as filter_names
from pathlib import Path
from typing import Any

import pytest

from duetime import contenders, registry
from duetime.checker import VIOLATIONS
from duetime.errors import BadUsage
from duetime.harness.plan import catalogue, lookup
from duetime.harness.runs.cell import Cell, Outcome
from duetime.league.about import About
from duetime.league.document import document
from duetime.league.facts import facts_of
from duetime.league.matrix import Judged, Place
from duetime.league.tables import GROUPS, replace_between, summary
from duetime.league.why import Explanations
from duetime.report.contender_mechanisms import paragraphs

POLLS = "**It polls.** `calm`, `crash*` of `default`: late; `pause`: late, missed. See `library/worker.py:64`."


def cell(outcome: Outcome = "pass", *, kept: bool | None = True, explanation: str = "", **counts: int) -> Cell:
    return Cell(
        design="contender:rq",
        scenario="calm",
        seed=1,
        outcome=outcome,
        within_guarantees=kept,
        explanation=explanation,
        weakness="",
        run_dir=Path("nowhere"),
        counts=counts,
        violations={label: count for label, count in counts.items() if label in VIOLATIONS},
    )


def lasting(**seconds: float) -> Cell:
    """A failing cell with one violation of the kind, and how long it lasted."""
    [(kind, longest)] = seconds.items()
    late = kind == "late"
    failing = cell("fail", late=1) if late else replace(cell("fail", missed=1), counts={"missed": 1, kind: 1})
    return replace(failing, longest_s={kind: longest})


def place(scenario: str = "calm", seed: int = 1, design: str = "contender:rq") -> Place:
    return Place(registry.load(design), lookup.named(scenario), seed)


def page(judged: Judged, explanations: Explanations) -> str:
    facts = {name: facts_of(name) for name in {place.design.name for place, _ in judged}}
    return document(judged, explanations, About(facts=facts, absent={"saq": "its Python packages are not installed"}))


@pytest.fixture
def readme(tmp_path: Path) -> Any:
    def write(section: str) -> Path:
        (tmp_path / "rq").mkdir(exist_ok=True)
        file = tmp_path / "rq" / "README.md"
        file.write_text(
            f"# RQ\n\nAbout it.\n\n## What fails here, and why\n\n{section}\n\n## Another\n\n**Bold** text.\n"
        )
        return file

    return write


@pytest.mark.parametrize(
    ("cells", "text"),
    [
        ([cell(), cell()], "pass"),
        ([cell("fail", late=3), cell("fail", late=5)], "late 3-5"),
        ([cell("fail", late=3), cell("fail", late=3)], "late 3"),
        ([cell("fail", late=3), cell(), cell()], "1 of 3: late 3"),
        ([cell("fail", late=3), cell("fail", duplicate=1)], "duplicate 0-1, late 0-3"),
        ([cell("fail", missed=3, stuck=2, lost=1)], "lost 1, stuck 2"),
        ([cell("fail", missed=3)], "missed 3"),
        ([cell(), cell("unknown", kept=None)], "pass; 1 unknown"),
        ([cell("unknown", kept=None)], "unknown"),
        ([cell("not applicable", kept=None)], "n/a"),
        ([cell("fail", kept=False, late=3)], "**late 3**"),
        ([cell("pass", excused=4)], "pass"),
        ([lasting(late=4.01), lasting(late=7.2), cell()], "2 of 3: late 1 (≤ 8 s)"),
        ([lasting(stuck=9.9), lasting(stuck=3.0)], "stuck 1 (≥ 9 s)"),
        ([lasting(stuck=0.9)], "stuck 1"),
    ],
)
def test_a_cell_says_what_its_seeds_found(cells: list[Cell], text: str) -> None:
    assert summary(cells) == text


def test_a_mechanism_explains_the_cells_that_it_names(readme: Any) -> None:
    [mechanism] = paragraphs(readme(POLLS))

    assert (mechanism.contender, mechanism.title, mechanism.sources) == ("rq", "It polls.", ("`library/worker.py:64`",))
    assert mechanism.covers("calm", "default", "late")
    assert mechanism.covers("crash_before", "default", "late")
    assert mechanism.covers("pause", "tuned", "stuck")
    assert not mechanism.covers("calm", "tuned", "late")
    assert not mechanism.covers("calm", "default", "missed")
    assert not mechanism.covers("downtime", "default", "late")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("**It polls.** Often. `library/worker.py:64`.", "cannot read"),
        ("**It polls.** `calm`: tardy. `library/worker.py:64`.", "'tardy' is none of duplicate, early"),
        ("**It polls.** `calm`: late. Nobody knows why.", "names no source"),
    ],
)
def test_a_paragraph_that_cannot_be_read_is_named_with_an_example(readme: Any, section: str, message: str) -> None:
    with pytest.raises(BadUsage, match=message):
        paragraphs(readme(section))


def test_a_failing_cell_without_a_mechanism_is_named(readme: Any) -> None:
    explanations = Explanations(paragraphs(readme(POLLS)))

    numbers = explanations.of([(place(), cell("fail", explanation="3 late, 1 early", late=3, early=1))])

    assert numbers == [1]
    assert explanations.unexplained == {("calm / contender:rq, seed 1", "early"): "3 late, 1 early"}


def test_the_page_lists_what_is_not_explained_with_its_seeds(readme: Any) -> None:
    judged = [(place(seed=seed), cell("fail", late=3, early=1)) for seed in (1, 2)]
    text = document(
        judged, Explanations(paragraphs(readme(POLLS))), About(facts={"contender:rq": facts_of("contender:rq")})
    )

    assert "### Not explained yet" in text
    assert "- `calm / contender:rq`: early, seed 1, 2" in text
    assert "Not explained yet" not in document(
        [(place(), cell("fail", late=3))],
        Explanations(paragraphs(readme(POLLS))),
        About(facts={"contender:rq": facts_of("contender:rq")}),
    )


def test_a_failing_cell_of_our_own_has_the_mechanism_of_the_findings() -> None:
    explanations = Explanations([])
    found = [(place("downtime", design="pull_worker"), replace(cell("fail", missed=3), design="pull_worker"))]

    assert explanations.of([(where, replace(each, scenario="downtime")) for where, each in found]) == [1]
    [reason] = explanations.numbers
    assert (reason.entrant, reason.page) == ("pull_worker", "findings.md#no-poll")
    assert reason.title.startswith("No poll ran while it was due")


def test_a_mechanism_that_explains_no_failing_cell_is_named_once_such_a_cell_was_judged(readme: Any) -> None:
    explanations = Explanations(paragraphs(readme(POLLS)))

    assert explanations.unused([(place("downtime"), cell())]) == []
    assert explanations.unused([(place("calm"), cell("unknown", kept=None))]) == []
    assert explanations.unused([(place("calm"), cell())]) == ["rq: It polls."]
    explanations.of([(place("calm"), cell("fail", late=1))])
    assert explanations.unused([(place("calm"), cell("fail", late=1))]) == []


def test_the_page_has_the_reason_of_each_cell_without_a_verdict(readme: Any) -> None:
    judged = [
        (place("calm"), cell("fail", late=2)),
        (place("downtime"), cell("not applicable", kept=None, explanation="the run is too short")),
        (place("crash"), cell("unknown", kept=None, explanation="Unknown: the machine was busy.")),
    ]

    text = page(judged, Explanations(paragraphs(readme(POLLS))))

    assert "| **rq** | late 2 <sup>1</sup> | n/a<sup>a</sup> | unknown |" in text
    assert "1. [rq](../contenders/rq/README.md#what-fails-here-and-why): It polls. `library/worker.py:64`" in text
    assert "- n/a<sup>a</sup>: the run is too short." in text
    assert "- saq did not run: its Python packages are not installed." in text
    assert "- Unknown, `crash` / `contender:rq`, seed 1: the machine was busy." in text


def test_a_scenario_that_runs_only_if_named_is_on_the_page_and_needs_a_mechanism(readme: Any) -> None:
    explanations = Explanations(paragraphs(readme(POLLS)))

    text = page([(place("new_address"), cell("fail", stale=1))], explanations)

    assert "### Only if named\n\n| | `new_address` |\n|---|---|\n| **rq** | stale 1 |" in text
    assert explanations.unexplained == {("new_address / contender:rq, seed 1", "stale"): ""}


def test_every_scenario_of_a_full_comparison_is_in_a_table() -> None:
    shown = {scenario.name for members in GROUPS.values() for scenario in members}

    assert {scenario.name for scenario in catalogue.FULL} <= shown


def test_only_the_text_between_the_markers_is_replaced() -> None:
    text = "before\n<!-- contenders -->\nold\n<!-- end -->\nafter\n"

    assert replace_between(text, "contenders", "new\n") == text.replace("old", "new")
    with pytest.raises(ValueError, match="no <!-- contenders -->"):
        replace_between("no markers", "contenders", "new\n")


@pytest.mark.parametrize("name", contenders.names())
def test_the_mechanisms_of_each_contender_name_cells_that_exist(name: str) -> None:
    found = [explained for each in paragraphs(contenders.folder(name) / "README.md") for explained in each.explained]

    assert found
    assert {explained.variant for explained in found} <= {None, "default", "tuned"}
    patterns = [pattern for explained in found for pattern in explained.scenarios]
    assert [pattern for pattern in patterns if not filter_names(lookup.names(), pattern)] == []


def test_the_page_says_which_versions_ran_and_which_scenarios_had_fewer_seeds(tmp_path: Path) -> None:
    judged = []
    for scenario, seed in (("calm", 1), ("calm", 2), ("downtime", 1)):
        directory = tmp_path / f"{scenario}{seed}"
        directory.mkdir()
        versions = {"postgresql": "18.6", "broker": "9.1", "rq of contender:rq": "3.0.0", "click of contender:rq": "8"}
        (directory / "plan.json").write_text(json.dumps({"versions": versions}))
        (directory / "measured.json").write_text(json.dumps({"tree": "abc", "cores": 2, "date": "2030-01-01"}))
        judged.append((place(scenario, seed), replace(cell(), run_dir=directory)))

    text = page(judged, Explanations([]))

    assert "3 runs, seeds 1, 2 (only 1 in `downtime`), 2 shared cores, PostgreSQL 18.6, Valkey 9.1, 2030-01-01" in text
    assert "- rq: rq 3.0.0\n" in text
