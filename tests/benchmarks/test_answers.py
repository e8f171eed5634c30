"""The table at the end of the benchmarks: by question, readable at 80 columns, and quick is no measurement."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.answers import Answer, answers_text, size_text

ROOT = Path(__file__).parents[2]
ANSWERS = [
    Answer(
        "How fast is a backlog drained by one worker?",
        ["contender", "deliveries a second", "read model ÷ this"],
        [("bare loop, one by one and with a name that is too long for the line", 84566, 1.05), ("[queue]", 575, "")],
        ["the read model delivers 105% of a bare loop with the same statements, and 155 times what the queue does"],
    ),
    Answer("What did a benchmark that failed find?"),
    Answer("How late is the last of a burst?", ["design", "latest, ms"], [("push_readmodel", 55.0)], ["it is late"]),
]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_each_question_has_its_figures_within_the_width(width: int) -> None:
    text = answers_text(ANSWERS, size="default", width=width)

    assert max(map(len, text.splitlines())) <= width
    assert text.index("How fast is a backlog") < text.index("84,566") < text.index("How late is the last") < len(text)
    assert "1.05" in text and "[queue]" in text and "55.0" in text
    assert "the read model delivers 105% of a bare loop" in " ".join(text.split())
    assert "What did a benchmark that failed find?" not in text


def test_quick_draws_no_conclusions_and_says_that_it_is_no_measurement() -> None:
    assert "NO MEASUREMENT" in size_text("quick")
    assert "NO MEASUREMENT" not in size_text("default") + size_text("full")
    assert "105%" not in answers_text(ANSWERS, size="quick", width=80)


@pytest.mark.processes
def test_the_table_replaces_pytest_benchmarks_own_whose_json_stays(tmp_path: Path) -> None:
    stored = tmp_path / "benchmarks.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--size=quick", f"--benchmark-json={stored}"),
            "benchmarks/test_schedule.py::test_schedule_one_at_a_time",
        ],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = done.stdout.partition(" benchmarks by question ")[2]

    assert "NO MEASUREMENT" in summary
    assert "How fast does schedule() return?" in summary
    assert "INSERT and COMMIT on the driver" in summary
    assert "Median" not in done.stdout and "IQR" not in done.stdout
    assert max(map(len, summary.splitlines())) <= 80
    (result,) = json.loads(stored.read_text())["benchmarks"]
    assert result["group"] == "How fast does schedule() return?"
    assert result["stats"]["rounds"] == 1 and result["extra_info"]["conclusions"]
