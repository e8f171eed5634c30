"""Every rule is necessary, and the docs show the table that the command prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.checker.ablations import ABLATIONS, all_rules, table, worlds_with_violations

PAGE = Path(__file__).parents[2] / "docs" / "checker.md"


@pytest.mark.parametrize("name", [name for name, ablate in ABLATIONS.items() if ablate is not all_rules])
def test_without_each_rule_a_correct_world_has_a_violation(name: str) -> None:
    worlds, _ = worlds_with_violations(ABLATIONS[name])

    assert worlds > 0


def test_the_docs_show_the_table_that_the_command_prints() -> None:
    assert table() in PAGE.read_text(encoding="utf-8")
