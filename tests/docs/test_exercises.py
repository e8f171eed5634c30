"""The commands of exercises accept the right answer and no other."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import duetime
from tests.docs.pages import ROOT

LESSONS = ROOT / "docs" / "lessons"
CALL = "self._schedule(session, session.scalars(upcoming)"


def answered(script: str, answer: str) -> str:
    done = subprocess.run(
        [sys.executable, str(LESSONS / script), answer], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


@pytest.mark.processes
@pytest.mark.parametrize(
    ("index", "said"),
    [
        ("(due_at) WHERE NOT done", "Right: "),
        pytest.param("(done, due_at)", "Nearly: ", marks=pytest.mark.full),
        pytest.param("(due_at)", "Not yet: ", marks=pytest.mark.full),
        pytest.param("(due)", "PostgreSQL refuses CREATE INDEX … ON reminders (due): column", marks=pytest.mark.full),
    ],
)
def test_lesson_4_accepts_an_index_of_what_is_owed(index: str, said: str) -> None:
    assert said in answered("check_index.py", index)


def test_lesson_7_counts_the_settings_that_a_crash_needs() -> None:
    """As the command on the page does with sed and grep."""
    page = (LESSONS / "07-in-memory.md").read_text()
    options = re.search(r"duetime lint docs/lessons/my_queue.py (.*?) \|", page)
    assert options

    def left(file: str) -> int:
        printed = duetime("lint", str(LESSONS / file), *options[1].split()).stdout
        assert "warning:" in printed
        return printed.partition("info:")[0].count("scenario crash")

    assert left("my_queue.py") == 2
    assert left("answers/my_queue.py") == 0


@pytest.mark.processes
@pytest.mark.parametrize(
    ("line", "said"),
    [
        (CALL, "Right: "),
        pytest.param("self._follow_ups.readdress", "Not this one: ", marks=pytest.mark.full),
        pytest.param("upcoming = (", "does not run", marks=pytest.mark.full),
    ],
)
def test_lesson_9_accepts_the_call_that_schedules_again(line: str, said: str) -> None:
    assert said in answered("without.py", line)


@pytest.mark.parametrize("text", ["session.commit()", "no such line"])
def test_lesson_9_wants_one_line(text: str) -> None:
    assert "name exactly one" in answered("without.py", text)


def test_the_right_answers_are_not_on_the_pages() -> None:
    pages = [path.read_text() for path in Path(LESSONS).glob("*.md")]

    assert not any(CALL in page or "WHERE NOT done" in page for page in pages)
