"""The output on the page of a lesson is the output of its commands, except for numbers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.docs.rewrite_lessons import pictured_run, redrawn, with_new_output
from tests.docs.transcript import LESSONS, Step, comparable, follow, steps

AT_A_TIME = 1
"""Whole runs of other tests go on at the same time; more lessons would overload two cores."""
IN_MAKE_TEST = ("01", "06", "10")
"""All ten take four minutes: ``make test-full``."""
FOLLOWED = [
    pytest.param(page, id=page.stem, marks=() if page.name.startswith(IN_MAKE_TEST) else pytest.mark.full)
    for page in LESSONS
]


@pytest.fixture(scope="module")
def followed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Path, Future[list[Step]]]]:
    """The selected lessons, followed in the background."""
    selected = [
        Path(str(item.callspec.params["page"]))
        for item in request.session.items
        if isinstance(item, pytest.Function) and "followed" in item.fixturenames
    ]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        yield {page: pool.submit(follow, page, tmp_path_factory.mktemp(page.stem)) for page in selected}


@pytest.mark.runs
@pytest.mark.parametrize("page", FOLLOWED)
def test_the_output_on_a_page_is_the_output_of_its_commands(
    page: Path, followed: dict[Path, Future[list[Step]]]
) -> None:
    for written, again in zip(steps(page), followed[page].result(), strict=True):
        assert comparable(again.output) == comparable(written.output), written.command


@pytest.mark.parametrize("page", LESSONS, ids=lambda page: page.stem)
def test_a_lesson_has_a_command_a_picture_and_an_exercise(page: Path) -> None:
    text = page.read_text()

    assert steps(page)
    assert f"]({page.stem}.svg)" in text and page.with_suffix(".svg").exists()
    assert "\n## Exercise\n" in text


@pytest.mark.parametrize("page", LESSONS, ids=lambda page: page.stem)
def test_rewriting_a_page_with_its_own_output_changes_nothing(page: Path) -> None:
    assert with_new_output(page.read_text(), steps(page)) == page.read_text()


@pytest.mark.parametrize("page", LESSONS, ids=lambda page: page.stem)
def test_a_picture_is_drawn_by_the_present_code(page: Path) -> None:
    svg = page.with_suffix(".svg").read_text()

    assert redrawn(svg) == svg, "run `make lessons ARGS=--redraw`"


def test_the_picture_shows_the_first_design_of_the_command_above_it() -> None:
    downtime = next(page for page in LESSONS if page.stem == "02-downtime")

    assert pictured_run(downtime) == "downtime/pull_worker-seed"


def test_numbers_and_the_notification_given_as_evidence_are_not_compared() -> None:
    one = [
        "push_readmodel lost nothing of 46 and sent 1 in duplicate, as documented",
        "push_readmodel: duplicate 1 in crash; fails, as documented",
        "  example: 1 duplicate. Key a/1 at 4.5 s",
        "  evidence: check it",
    ]
    two = [
        "push_readmodel lost nothing of 45, sent 2 in duplicate and sent 1 too late, as documented",
        "push_readmodel: duplicate 2 in crash, late 1 in crash; fails, as documented",
        "  example: Duplicate. Key b/2",
        "    at 4.6 s",
        "  log: worker-1 logged an exception: Error",
        "    (a file)",
        "  evidence: check it",
    ]
    three = [line.replace("uplicate", "issed") for line in one]

    assert comparable(one).lower() == comparable(two).lower()
    assert comparable(one) != comparable(three)


def test_that_none_is_duplicated_is_compared() -> None:
    assert comparable(["19 delivered, 0 of them more"]) != comparable(["19 delivered, 1 of them more"])
    assert comparable(["19 delivered, 2 of them more"]) == comparable(["18 delivered, 1 of them more"])
