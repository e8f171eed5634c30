"""Every lesson, followed to the letter: what its commands say is what stands on its page."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.docs.transcript import PAGES, Step, comparable, follow, steps

pytestmark = pytest.mark.runs

AT_A_TIME = 1
"""Beside the runs of tests/system; more would be in each other's way."""
IN_MAKE_TEST = ("01", "06", "10")
"""All ten take four minutes: ``make test-full``."""
SOME = [page if page.name.startswith(IN_MAKE_TEST) else pytest.param(page, marks=pytest.mark.full) for page in PAGES]


@pytest.fixture(scope="module")
def followed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Path, Future[list[Step]]]]:
    """All lessons that are asked for, side by side."""
    asked_for = [item.callspec.params["page"] for item in request.session.items if "followed" in item.fixturenames]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        yield {page: pool.submit(follow, page, tmp_path_factory.mktemp(page.stem)) for page in asked_for}


@pytest.mark.parametrize("page", SOME, ids=lambda page: page.stem)
def test_a_lesson_says_what_its_commands_say(page: Path, followed: dict[Path, Future[list[Step]]]) -> None:
    for written, again in zip(steps(page), followed[page].result(), strict=True):
        assert comparable(again.said) == comparable(written.said), written.command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_lesson_has_a_command_a_picture_and_an_exercise(page: Path) -> None:
    text = page.read_text()

    assert steps(page)
    assert f"]({page.stem}.svg)" in text and page.with_suffix(".svg").exists()
    assert "\n## Exercise\n" in text
