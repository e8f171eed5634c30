"""The report page and the data that it draws."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from duetime.checker import VIOLATIONS, judge, judge_history
from duetime.cli.report import write_report
from duetime.history import load
from duetime.report.lane import lane
from duetime.report.logs import log_lines
from duetime.report.page import ASSETS, page, write_page
from duetime.report.picture import picture
from tests.checker.small_histories import canary, cancelled, delivery, fault, numbered, scheduled
from tests.checker.stored_runs import PLAN, close, good_run, write, write_lines


def cell(run_dir: Path, **more: Any) -> dict[str, Any]:
    results = judge(run_dir).to_json()
    return {
        "design": "push_readmodel",
        "scenario": "crash",
        "seed": 1,
        "outcome": results["outcome"],
        "within_guarantees": True,
        "violations": dict(Counter(violation["label"] for violation in results["violations"])),
        "counts": results["counts"],
        "lateness_s": results["lateness_s"],
        "explanation": results["explanation"],
        "weakness": "",
        "run_dir": str(run_dir),
        **more,
    }


@pytest.fixture
def good(tmp_path: Path) -> Path:
    run_dir = tmp_path / "good"
    run_dir.mkdir()
    return good_run(run_dir)


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """A run without faults: one missed, one duplicate and one phantom."""
    run_dir = tmp_path / "bad"
    (run_dir / "logs").mkdir(parents=True)
    write(run_dir / "plan.json", {**PLAN, "faults": [], "required_faults": [], "planned": {}})
    calls = [*scheduled("a/1", due_s=5.0), *scheduled("b/1", due_s=5.0), *cancelled("c/1", at_s=1.0)]
    write_lines(run_dir / "history.jsonl", numbered(calls))
    canaries = [canary(n, due_s=2.0 * n, at_s=2.0 * n) for n in range(6)]
    deliveries = [delivery("a/1", at_s=5.0), delivery("a/1", at_s=5.1), delivery("z/1", at_s=6.0)]
    write_lines(run_dir / "deliveries.jsonl", [*deliveries, *canaries])
    write_lines(run_dir / "faults.jsonl", [])
    write_lines(run_dir / "clock.jsonl", [{"wall_ns": 10**18, "mono_ns": 0}])
    return close(run_dir)


def drawn(html: str) -> list[dict[str, Any]]:
    """The lanes that the page unpacks."""
    packed = re.findall(r'class="lane-data">([^<]*)<', html)
    return [json.loads(gzip.decompress(base64.b64decode(text))) for text in packed]


def test_a_page_uses_no_network_and_shows_verdict_violations_and_command_of_each_run(good: Path, bad: Path) -> None:
    html = page([cell(good), cell(bad, design="mine")], descriptions={"crash": "One is killed."})

    links = re.findall(r"""<(\w+)[^>]*?(?:src|href)\s*=\s*["']?(?:https?:)?//""", html)
    assert set(links) <= {"a"}
    assert "default-src 'none'" in html
    assert '<span class="verdict pass">pass' in html and '<span class="verdict fail">fail' in html
    assert "1 missed, 1 duplicate, 1 phantom" in html
    assert "duetime run mine crash --seed 1" in html
    assert [lane["outcome"] for lane in drawn(html)] == ["pass", "fail"]


def test_a_slow_run_has_its_own_row_and_its_own_command(good: Path, bad: Path) -> None:
    html = page([cell(good), cell(bad, slow=2.5)], descriptions={"crash": "One is killed."})

    assert "crash (slow 2.5)" in html
    assert "duetime run push_readmodel crash --seed 1 --slow 2.5" in html
    assert html.count("One is killed.") == 2


def test_names_and_texts_are_escaped(bad: Path) -> None:
    evil = '</script><script>alert(1)</script>"'
    html = page([cell(bad, design=evil, scenario=evil, explanation=evil)], descriptions={evil: evil})

    assert "<script>alert(1)" not in html
    assert html.count("</script>") == len(re.findall(r"<script[ >]", html))


def test_a_lane_has_faults_deadlines_deliveries_and_labels(good: Path) -> None:
    history = load(good)
    drawn_lane = lane(history, judge_history(history))

    assert drawn_lane["faults"] == [
        {
            "name": "f1", "kind": "kill", "target": "worker-1", "title": "workers killed", "colour": "#d62728",
            "from": 4.5, "to": 6.0, "excused": 8.0, "only": [],
        }
    ]  # fmt: skip
    note = next(note for note in drawn_lane["notes"] if note["key"] == "event:4/7")
    (rev,) = note["revs"]
    # Due at 5 s, during the fault and its recovery until 8 s; then it has two seconds.
    assert (rev["due"], rev["deadline"], rev["state"], rev["required"]) == (5.0, 10.0, "delivered", True)
    assert rev["deliveries"] == [[6.5, 0, 1, "on_time"]]
    cancelled = next(note for note in drawn_lane["notes"] if note["key"] == "b")
    assert [rev.get("state") for rev in cancelled["revs"]] == ["none_due", None]


def test_a_delivery_that_was_never_scheduled_has_a_note(bad: Path) -> None:
    history = load(bad)
    drawn_lane = lane(history, judge_history(history))

    assert next(note for note in drawn_lane["notes"] if note["key"] == "z") == {
        "key": "z",
        "revs": [{"op": "z/1", "deliveries": [[6.0, 0, 1, "phantom"]]}],
    }
    assert {violation["label"] for violation in drawn_lane["violations"]} == {"missed", "duplicate", "phantom"}


def test_a_sample_is_drawn_of_too_many_notifications_and_all_are_counted(tmp_path: Path) -> None:
    run_dir = many(tmp_path, notifications=100, missed=range(0, 100, 10))
    history = load(run_dir)
    results = judge_history(history)

    sampled = lane(history, results, at_most=20, sample_size=20)
    drawn_keys = {note["key"] for note in sampled["notes"]}

    # Every fifth of the ninety without violations; all ten with violations.
    assert sampled["sample"] == {"notes": 100, "every": 5, "every_violating": 1, "violations": {"missed": 10}}
    assert len(sampled["notes"]) == 28
    assert len(sampled["violations"]) == 10
    assert {violation["op"].rpartition("/")[0] for violation in sampled["violations"]} <= drawn_keys

    few = lane(history, results, at_most=20, sample_size=5)
    assert (few["sample"]["every"], few["sample"]["every_violating"]) == (18, 2)
    assert (len(few["notes"]), len(few["violations"])) == (10, 5)

    assert "sample" not in lane(history, results, at_most=100)


def test_a_violation_has_the_log_lines_with_its_key_or_else_those_around_its_time(bad: Path) -> None:
    history = load(bad)
    stamp = datetime.fromtimestamp(10**9 + 5, UTC).astimezone().strftime("[%Y-%m-%d %H:%M:%S,")
    lines = [f"{stamp}010: INFO] Task deliver[a/1] received", f"{stamp}020: INFO] something else", "no stamp"]
    (bad / "logs" / "worker-1.log").write_text("\n".join(lines) + "\n")

    found = log_lines(bad, history, judge_history(history))

    assert [line.partition("INFO] ")[2] for line in found["a/1"]] == ["Task deliver[a/1] received"]
    assert [line.partition("INFO] ")[2] for line in found["b/1"]] == ["Task deliver[a/1] received", "something else"]


def test_the_matrix_shows_the_rate_over_several_seeds_and_links_to_the_worst_run(good: Path, bad: Path) -> None:
    html = page([cell(good), cell(bad, seed=2)], descriptions={})

    assert '<span class="verdict fail">fail 1/2</span>' in html
    assert 'data-show="crash seed 2"' in html
    # Of equal runs, the first.
    assert 'data-show="crash seed 3"' in page([cell(bad, seed=4), cell(bad, seed=3)], descriptions={})


def test_a_run_that_cannot_be_read_is_in_the_matrix_only(good: Path, tmp_path: Path) -> None:
    gone = {**cell(good), "design": "gone", "outcome": "unknown", "explanation": "it broke", "run_dir": str(tmp_path)}

    html = page([cell(good), gone], descriptions={})

    assert "it broke" in html
    assert len(drawn(html)) == 1
    # Its entry in the matrix leads to its row in the table, because it has no lane.
    assert '<tr id="run-crash-seed-1-gone">' in html and '<a href="#run-crash-seed-1-gone">' in html


def test_a_run_with_a_picture_is_not_read_again(good: Path) -> None:
    history = load(good)
    known = picture(good, history, judge_history(history))
    good_cell = cell(good)
    again = page([good_cell], descriptions={})
    (good / "plan.json").unlink()

    assert page([good_cell], descriptions={}, pictures={str(good): known}) == again


def test_a_stored_benchmark_is_on_the_page(good: Path) -> None:
    stored = {
        "machine_info": {"cpu": {"count": 2, "brand_raw": "a processor"}},
        "datetime": "2030-01-01T00:00:00",
        "benchmarks": [
            {"group": "drain", "name": "quick", "stats": {"median": 0.5}},
            {"group": "drain", "name": "slow", "stats": {"median": 1.0}},
        ],
    }

    html = page([cell(good)], descriptions={}, benchmark=stored)

    assert "2 cores, a processor" in html and "1000.00 ms" in html and "<td>2.0</td>" in html


@pytest.mark.parametrize("size", ["quick", "full"])
def test_a_stored_benchmark_is_a_table_by_question_and_quick_is_no_measurement(good: Path, size: str) -> None:
    table = {"columns": ["contender", "a second"], "rows": [["bare <loop>", 84566]]}
    info = {"size": size, "table": table, "conclusions": ["it is fast"]}
    bench = {"group": "How fast is it?", "name": "test_it", "stats": {"median": 0.5}, "extra_info": info}

    html = page([cell(good)], descriptions={}, benchmark={"benchmarks": [bench]})

    assert "<h3>How fast is it?</h3>" in html
    assert "<td>bare &lt;loop&gt;</td><td>84,566</td>" in html
    assert ("No measurement" in html) == (size == "quick") == ("it is fast" not in html)
    assert "500.00 ms" not in html


def test_a_page_that_cannot_be_written_leaves_the_verdicts(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.html").mkdir()

    assert write_report([cell(good)], tmp_path) is None

    assert "the verdicts are valid" in capsys.readouterr().err
    assert not [path for path in tmp_path.iterdir() if "draft" in path.name]


def many(tmp_path: Path, *, notifications: int, missed: Collection[int]) -> Path:
    """A run of notifications due one after another; those in `missed` are not delivered."""
    run_dir = tmp_path / "many"
    run_dir.mkdir()
    write(run_dir / "plan.json", {**PLAN, "faults": [], "required_faults": [], "planned": {}})
    ops = [f"event-reminder:{n}:{n * 7}/1" for n in range(notifications)]
    dues = [n * 0.0137 for n in range(notifications)]
    calls = [line for op, due in zip(ops, dues, strict=True) for line in scheduled(op, due_s=due + 5)]
    write_lines(run_dir / "history.jsonl", numbered(calls))
    deliveries = [
        delivery(op, at_s=due + 5.01) for n, (op, due) in enumerate(zip(ops, dues, strict=True)) if n not in missed
    ]
    canaries = [canary(n, due_s=2.0 * n, at_s=2.0 * n) for n in range(80)]
    write_lines(run_dir / "deliveries.jsonl", [*deliveries, *canaries])
    write_lines(run_dir / "faults.jsonl", fault(inject_s=200.0, healed_s=201.0))
    write_lines(run_dir / "clock.jsonl", [{"wall_ns": 0, "mono_ns": 0}])
    return close(run_dir, at_s=210.0)


def test_a_page_of_ten_thousand_notifications_is_smaller_than_five_megabytes(tmp_path: Path) -> None:
    # Every tenth is missed, so that the page holds a thousand explanations.
    run_dir = many(tmp_path, notifications=10_000, missed=range(0, 10_000, 10))

    path = write_page([cell(run_dir)], tmp_path / "report.html", descriptions={})

    assert path.stat().st_size < 5_000_000
    (drawn_lane,) = drawn(path.read_text())
    assert len(drawn_lane["notes"]) == 10_000
    assert len(drawn_lane["violations"]) == 1_000


def test_the_scripts_have_the_same_list_of_violations_as_the_checker() -> None:
    script = (ASSETS / "marks.js").read_text()
    (listed,) = re.findall(r"Duetime.VIOLATIONS = (\[.*?\]);", script)

    assert tuple(json.loads(listed)) == VIOLATIONS
