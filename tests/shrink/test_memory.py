"""What is known of earlier runs, in a file."""

from __future__ import annotations

from pathlib import Path

from duetime.shrink.kinds import Kind
from duetime.shrink.memory import FILE, StoredRuns
from tests.shrink.fake_runs import MISSED

MADE_WITH = {"design": "pull_worker", "duetime": "1", "source": ""}


def test_another_command_knows_what_was_seen(tmp_path: Path) -> None:
    first = StoredRuns(tmp_path, MADE_WITH)
    first.add("a", frozenset({MISSED, Kind(label="duplicate", under_fault=True)}))
    first.add("a", None)
    first.add("b", frozenset())

    again = StoredRuns(tmp_path, MADE_WITH)

    assert again.of("a") == [frozenset({MISSED, Kind(label="duplicate", under_fault=True)}), None]
    assert again.of("b") == [frozenset()]
    assert again.of("c") == ()


def test_runs_of_another_design_or_version_are_forgotten(tmp_path: Path) -> None:
    StoredRuns(tmp_path, MADE_WITH).add("a", frozenset({MISSED}))

    assert StoredRuns(tmp_path, {**MADE_WITH, "duetime": "2"}).of("a") == ()
    assert StoredRuns(tmp_path, MADE_WITH).of("a") == ()


def test_a_line_that_was_not_written_to_its_end_does_not_count(tmp_path: Path) -> None:
    StoredRuns(tmp_path, MADE_WITH).add("a", frozenset({MISSED}))
    with (tmp_path / FILE).open("a") as file:
        file.write('{"plan": "a", "sho')

    assert StoredRuns(tmp_path, MADE_WITH).of("a") == [frozenset({MISSED})]
