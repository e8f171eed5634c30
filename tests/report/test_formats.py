"""The forms of a comparison that programs read, with any text in its cells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from duetime.report.formats import Outcome, written

READ: Mapping[str, tuple[set[str], set[str]]] = {
    "testsuites": ({"name", "tests", "failures", "errors", "time"}, {"testsuite"}),
    "testsuite": ({"name", "tests", "failures", "errors", "skipped", "time"}, {"testcase"}),
    "testcase": ({"name", "classname", "time"}, {"failure", "error", "skipped", "system-out"}),
    "failure": ({"message", "type"}, set()),
    "error": ({"message", "type"}, set()),
    "skipped": ({"message"}, set()),
    "system-out": (set(), set()),
}
"""Attributes and children that Jenkins' schema (xunit-plugin, junit-10.xsd), GitLab's and GitHub's readers have."""
REQUIRED = {"testsuite": {"name", "tests", "failures", "errors"}, "testcase": {"name"}}
NASTY = "a|b `c` <script>\"' & ]]> \x00\x1b[31m\r\n::error::50%, x:y \ud800 \ufffe *é* _z_"


def cell(design: str = "mine", **more: Any) -> dict[str, Any]:
    return {
        "scenario": "crash",
        "design": design,
        "seed": 1,
        "slow": 1.0,
        "outcome": "pass",
        "within_guarantees": True,
        "violations": {},
        "counts": {"owed": 40},
        "explanation": "",
        "run_dir": "runs/x",
        "loaded_as": design,
        "plan_hash": "",
        **more,
    }


def missed(**more: Any) -> dict[str, Any]:
    broken = {"outcome": "fail", "within_guarantees": False, "violations": {"missed": 3}, "explanation": "3 missed."}
    return cell(**{**broken, **more})


def outcome(*cells: dict[str, Any]) -> Outcome:
    fails = [one["outcome"] == "fail" and one["within_guarantees"] is not True for one in cells]
    return Outcome(cells=cells, fails=fails, scenarios=["crash"], runs=Path("runs/20300101-120000"))


def parsed(*cells: dict[str, Any]) -> ET.Element:
    return ET.fromstring(written(outcome(*cells), "junit"))  # noqa: S314 - our own text


ALL = (
    cell(),
    missed(seed=2),
    cell(seed=3, outcome="unknown", within_guarantees=None, explanation="Unknown: starved."),
    cell("other", outcome="not applicable", within_guarantees=None, explanation="no broker"),
    missed(scenario="calm", within_guarantees=True),
)


def test_junit_has_only_what_its_readers_read_and_all_that_they_need() -> None:
    for element in parsed(*ALL, missed(scenario=NASTY, design=NASTY, explanation=NASTY)).iter():
        attributes, children = READ[element.tag]
        assert set(element.attrib) <= attributes
        assert {child.tag for child in element} <= children
        assert REQUIRED.get(element.tag, set()) <= set(element.attrib)


def test_a_junit_case_fails_if_and_only_if_it_makes_the_command_fail() -> None:
    suites = parsed(*ALL)

    cases = {case.get("classname", "") + " " + case.get("name", ""): [part.tag for part in case] for case in
             suites.iter("testcase")}  # fmt: skip
    assert cases == {
        "duetime.crash mine, seed 1": [],
        "duetime.crash mine, seed 2": ["failure"],
        "duetime.crash mine, seed 3": ["error"],
        "duetime.crash other, seed 1": ["skipped"],
        "duetime.calm mine, seed 1": ["system-out"],
    }
    assert (suites.get("tests"), suites.get("failures"), suites.get("errors")) == ("5", "1", "1")
    assert [suite.get("skipped") for suite in suites] == ["1", "0"]


def test_junit_has_one_suite_for_each_scenario_whatever_the_order() -> None:
    suites = parsed(cell(), cell(scenario="calm"), cell(seed=2), cell(scenario="calm", seed=2))

    assert [(suite.get("name"), suite.get("tests")) for suite in suites] == [("crash", "2"), ("calm", "2")]


def test_junit_is_well_formed_with_any_text_and_keeps_what_xml_can_hold() -> None:
    [failure] = parsed(missed(explanation=NASTY)).iter("failure")

    assert failure.text is not None
    assert "a|b `c` <script>\"' & ]]> \ufffd\ufffd[31m\n::error::50%, x:y \ufffd \ufffd *é* _z_" in failure.text


def test_annotations_are_escaped_so_that_no_text_ends_one_or_begins_another() -> None:
    lines = written(outcome(missed(explanation=NASTY, design="a:b,c%")), "github").splitlines()

    assert [line.split("::")[1].split(" ")[0] for line in lines if line.startswith("::")] == ["error", "notice"]
    [error] = [line for line in lines if line.startswith("::error")]
    assert error.startswith("::error title=crash / a%3Ab%2Cc%25%3A BREAKS ITS GUARANTEE%3A missed 3::a|b")
    assert "%0D%0A::error::50%25, x:y" in error


def test_runs_of_one_cell_are_one_annotation_because_github_shows_ten() -> None:
    lines = written(outcome(*(missed(seed=seed) for seed in range(1, 8))), "github").splitlines()

    assert len(lines) == 2
    assert "The same in 6 more runs.%0ARepeat it: " in lines[0]


@pytest.mark.parametrize("outside", [False, True])
def test_an_annotation_of_a_design_file_names_it_from_the_top_of_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outside: bool
) -> None:
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    file = Path("/elsewhere/mine.py") if outside else tmp_path / "src" / "mine,2.py"
    text = written(outcome(missed(loaded_as=f"{file}:design")), "github")

    assert text.startswith(f"::error file={'/elsewhere/mine.py' if outside else 'src/mine%2C2.py'},title=")


def test_a_design_without_a_file_gets_an_annotation_without_one() -> None:
    assert written(outcome(missed()), "github").startswith("::error title=")


def test_the_job_summary_has_the_matrix_and_the_telling_count() -> None:
    text = written(outcome(*ALL), "markdown")

    assert text.startswith("## duetime: 4 runs: 1 fail, 1 fail as documented, 1 unknown\n")
    assert "\n- mine missed 6 of 120, which BREAKS ITS GUARANTEE; 1 of 4 runs proves nothing\n" in text
    assert "| scenario | mine | other |\n|---|---|---|\n" in text
    assert "| crash | ❌ 1 of 2 runs: missed 3 | n/a |" in text
    assert "| calm | ⚠️ missed 3 | n/a |" in text
    assert "<summary>crash / mine, seed 2: BREAKS ITS GUARANTEE: missed 3</summary>" in text


def test_no_text_leaves_its_cell_of_the_summary() -> None:
    text = written(outcome(missed(design=NASTY, explanation=NASTY)), "markdown")

    [header, rule, row] = [line for line in text.splitlines() if line.startswith("|")]
    cells = [len(re.findall(r"(?<!\\)\|", line)) for line in (header, rule, row)]
    assert cells == [3, 3, 3]
    assert "<script>" not in text and "\x1b" not in text and "\x00" not in text


def test_a_summary_stays_below_the_mebibyte_that_github_allows() -> None:
    text = written(outcome(*(missed(seed=seed, explanation="x" * 5000) for seed in range(300))), "markdown")

    assert len(text.encode()) < 2**20
    assert "…and 280 more runs." in text


def test_a_run_is_repeated_by_its_scenario_or_by_its_plan_where_no_scenario_has_the_name() -> None:
    known, stored = outcome(missed(slow=2.5)).rows[0], outcome(missed(scenario="short")).rows[0]

    assert known.repeat.endswith("duetime run mine crash --seed 1 --slow 2.5")
    assert stored.repeat.endswith("duetime run mine runs/x/plan.json")
