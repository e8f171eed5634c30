"""The matrix on a terminal and in a pipe."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from duetime.report.table import print_matrix


def cell(outcome: str, **more: Any) -> dict[str, Any]:
    return {
        "design": "mine",
        "scenario": "downtime",
        "seed": 1,
        "outcome": outcome,
        "within_guarantees": True,
        "counts": {"delivered": 3, "missed": 2, "duplicate": 0, "stale": 4},
        "lateness_s": {"raw": {"p50": 0.0104, "p99": 1.0, "max": 2.5}},
        "explanation": "2 missed. For example: Missed. Notification [a] was accepted",
        "weakness": "forgets",
        **more,
    }


def printed(*cells: dict[str, Any], **console: Any) -> str:
    out = io.StringIO()
    print_matrix(Console(file=out, width=160, **console), cells)
    return out.getvalue()


def test_a_row_has_verdict_guarantee_counts_other_labels_and_lateness() -> None:
    row = next(line for line in printed(cell("fail")).splitlines() if line.startswith("downtime"))

    assert " ".join(row.split()) == "downtime mine 1 fail kept 3 2 0 stale 4 0.010 1.000 2.500"


def test_a_slow_run_says_so_in_its_row_and_beside_its_explanation() -> None:
    text = printed(cell("fail", slow=3.0))

    assert "downtime (slow 3)  mine" in text
    assert "downtime (slow 3) / mine" in text


def test_a_cell_that_breaks_its_guarantee_says_so_and_the_word_is_explained() -> None:
    text = printed(cell("fail", within_guarantees=False))

    assert "BROKEN" in text
    assert "guarantee: whether the violations are ones that the design's guarantees allow." in text


def test_other_labels_are_in_the_order_of_the_list_of_violations() -> None:
    counts = {"delivered": 3, "late": 1, "early": 2, "stale": 3, "phantom": 4, "zombie": 5}

    assert "phantom 4 stale 3 early 2 late 1 zombie 5" in printed(cell("fail", counts=counts))


def test_a_failing_cell_has_its_explanation_with_brackets_and_its_known_weakness() -> None:
    text = printed(cell("fail"))

    assert "Notification [a] was accepted" in text
    assert "Known weakness: forgets." in text


def test_a_passing_cell_has_no_explanation() -> None:
    assert "Notification [a]" not in printed(cell("pass"))


def test_a_cell_without_results_has_dashes() -> None:
    text = printed(
        cell("unknown", counts={}, lateness_s={}, within_guarantees=None, explanation="the run could not begin")
    )

    assert "the run could not begin" in text
    assert " - " in text


def test_output_in_a_pipe_has_no_escape_codes() -> None:
    assert "\x1b" not in printed(cell("fail"))
    assert "\x1b" in printed(cell("fail"), force_terminal=True)
