"""Every rule earns its place, and the table in the docs is the one that the command prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.checker.ablations import ABLATIONS, accusations, table, whole

PAGE = Path(__file__).parents[2] / "docs" / "checker.md"


@pytest.mark.parametrize("name", [name for name, ablate in ABLATIONS.items() if ablate is not whole])
def test_without_the_rule_correct_worlds_are_accused(name: str) -> None:
    accused, _ = accusations(ABLATIONS[name])

    assert accused > 0


def test_the_page_shows_the_table_that_the_command_prints() -> None:
    assert table() in PAGE.read_text(encoding="utf-8")
