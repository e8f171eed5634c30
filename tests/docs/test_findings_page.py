"""The matrix of docs/findings.md: what a cell says, which commit was measured, and when it is too old."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.findings.age import BEFORE_ALL, Stamp, digest_of_drain, releases_in, stamp_now, stamp_of, too_old
from benchmarks.findings.page import cell_text, matrix
from duetime import registry
from duetime.checker import VIOLATIONS
from duetime.harness.plan import lookup
from duetime.harness.runs.cell import Cell, Outcome
from duetime.league.matrix import ROOT, Place, described_tree
from duetime.league.tables import replace_between

PAGE = (ROOT / "docs" / "findings.md").read_text()
CHANGELOG = "# Changelog\n\n## Unreleased\n\n## 0.3.0 — 2027\n\n## 0.2.0 — 2026\n\n## 0.1.0 — 2026\n"


def cell(outcome: Outcome = "pass", *, explanation: str = "", **counts: int) -> Cell:
    return Cell(
        design="d",
        scenario="s",
        seed=1,
        outcome=outcome,
        within_guarantees=True,
        explanation=explanation,
        weakness="",
        run_dir=Path("nowhere"),
        counts=counts,
        violations={label: count for label, count in counts.items() if label in VIOLATIONS},
    )


def test_the_matrix_on_the_page_is_not_too_old() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()

    reason = too_old(stamp_of(PAGE), changelog=changelog, drain=digest_of_drain())

    assert reason is None, reason


@pytest.mark.parametrize(
    ("release", "drain", "since"),
    [
        ("0.3.0", "old", 0),
        ("0.2.0", "old", 0),
        ("0.1.0", "old", 2),
        (BEFORE_ALL, "old", 3),
        ("0.1.0", "now", 0),  # the same files need no new matrix
    ],
)
def test_a_matrix_is_too_old_if_the_drain_has_changed_and_two_releases_came_out(
    release: str, drain: str, since: int
) -> None:
    reason = too_old(Stamp("abc", release, drain), changelog=CHANGELOG, drain="now")

    assert bool(reason) == bool(since)
    assert not reason or f"{since} releases came out since: 0.3.0, 0.2.0" in reason


def test_the_digest_is_of_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "drain.py").write_text("a = 1\n")
    first = digest_of_drain(tmp_path)
    (tmp_path / "notes.md").write_text("not code")
    assert digest_of_drain(tmp_path) == first

    (tmp_path / "drain.py").rename(tmp_path / "other.py")
    renamed = digest_of_drain(tmp_path)
    (tmp_path / "other.py").write_text("a = 2\n")

    assert len({first, renamed, digest_of_drain(tmp_path)}) == 3


def test_a_stamp_is_read_as_it_was_written() -> None:
    stamp = stamp_now("0d01f3a")

    assert stamp_of(f"text\n{stamp}\ntext") == stamp
    assert stamp.release == releases_in((ROOT / "CHANGELOG.md").read_text())[0]
    with pytest.raises(ValueError, match="make findings"):
        stamp_of("no stamp")


@pytest.mark.parametrize(
    ("cells", "text"),
    [
        ([], "not run"),
        ([cell(), cell()], "pass"),
        ([cell("fail", missed=3, lost=3), cell("fail", duplicate=1)], "**missed, duplicate**"),
        ([cell(), cell("fail", missed=1), cell()], "1/3: missed"),
        ([cell("fail", missed=1), cell("unknown")], "**missed** (1 unknown)"),
        ([cell("unknown"), cell("unknown")], "unknown"),
        ([cell("not applicable")], "n/a"),
    ],
)
def test_a_cell_says_what_its_seeds_found(cells: list[Cell], text: str) -> None:
    assert cell_text(cells) == text


def test_the_page_has_columns_of_designs_and_names_what_was_not_judged() -> None:
    names = ("oban_style_queue", "oban_style_queue:soft_shutdown", "pull_worker:one_beat")
    places = [Place(registry.load(name), lookup.named("calm"), 1) for name in names]
    cells = [cell(), cell("not applicable", explanation="no broker."), cell("unknown", explanation="Unknown: late.")]

    text = matrix(list(zip(places, cells, strict=True)), Stamp("0d01f3a", "0.1.0", "abc"))

    assert "| scenario | `oban_style_queue` | `:soft_shutdown` | `pull_worker:one_beat` |" in text
    assert "| `calm` | pass | n/a | unknown |" in text
    assert "- n/a: `calm` / `oban_style_queue:soft_shutdown`: no broker." in text
    assert "- unknown: `calm` / `pull_worker:one_beat`, seed 1: late." in text
    assert stamp_of(replace_between(PAGE, "matrix", text)).tree == "0d01f3a"


def test_the_estimate_runs_nothing_and_says_which_commit(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.findings", "--estimate", "--scenarios", "calm,crash", "--out", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert f"tree {described_tree()}\n{len(registry.names()) * 6} runs, about" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []
