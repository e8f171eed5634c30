"""The report holds everything, says what the checker said, and has no say in it."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from duetime.checker import judge, judge_history
from duetime.cli.report import write_report
from duetime.history import load
from duetime.report.lane import lane
from duetime.report.logs import log_lines
from duetime.report.page import page, picture, write_page
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
    """One missed, one twice, one that nobody asked for; all of it under no fault."""
    run_dir = tmp_path / "bad"
    (run_dir / "logs").mkdir(parents=True)
    write(run_dir / "plan.json", {**PLAN, "faults": [], "required_faults": [], "planned": {}})
    calls = [*scheduled("a/1", due_s=5.0), *scheduled("b/1", due_s=5.0), *cancelled("c/1", at_s=1.0)]
    write_lines(run_dir / "history.jsonl", numbered(calls))
    canaries = [canary(n, due_s=2.0 * n, at_s=2.0 * n) for n in range(6)]
    came = [delivery("a/1", at_s=5.0), delivery("a/1", at_s=5.1), delivery("z/1", at_s=6.0)]
    write_lines(run_dir / "deliveries.jsonl", [*came, *canaries])
    write_lines(run_dir / "faults.jsonl", [])
    write_lines(run_dir / "clock.jsonl", [{"wall_ns": 10**18, "mono_ns": 0}])
    return close(run_dir)


def drawn(html: str) -> list[dict[str, Any]]:
    """The lanes that the page would unpack."""
    packed = re.findall(r'class="lane-data">([^<]*)<', html)
    return [json.loads(gzip.decompress(base64.b64decode(text))) for text in packed]


def test_a_page_asks_no_network_and_shows_each_verdict_its_sentence_and_its_command(good: Path, bad: Path) -> None:
    html = page([cell(good), cell(bad, design="mine")], ideas={"crash": "One is killed."})

    assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", html)
    assert "default-src 'none'" in html
    assert '<span class="verdict pass">pass' in html and '<span class="verdict fail">fail' in html
    assert "1 missed, 1 phantom, 1 duplicate" in html
    assert "duetime run mine crash --seed 1" in html
    assert [one["outcome"] for one in drawn(html)] == ["pass", "fail"]


def test_whatever_names_hold_is_text_and_no_markup(bad: Path) -> None:
    evil = '</script><script>alert(1)</script>"'
    html = page([cell(bad, design=evil, scenario=evil, explanation=evil)], ideas={evil: evil})

    assert "<script>alert(1)" not in html
    assert html.count("</script>") == len(re.findall(r"<script[ >]", html))


def test_a_lane_has_the_window_its_excuse_what_came_and_what_is_said_of_it(good: Path) -> None:
    history = load(good)
    told = lane(history, judge_history(history))

    assert told["faults"] == [
        {
            "name": "f1", "kind": "kill", "target": "worker-1", "title": "workers killed", "colour": "#d62728",
            "from": 4.5, "to": 6.0, "excused": 8.0, "only": [],
        }
    ]  # fmt: skip
    note = next(note for note in told["notes"] if note["key"] == "event:4/7")
    (rev,) = note["revs"]
    # Due at 5 s, within the fault and its recovery until 8 s; then two healthy seconds.
    assert (rev["due"], rev["deadline"], rev["state"], rev["required"]) == (5.0, 10.0, "delivered", True)
    assert rev["got"] == [[6.5, 0, 1, "on_time"]]
    cancelled = next(note for note in told["notes"] if note["key"] == "b")
    assert [rev.get("state") for rev in cancelled["revs"]] == ["none_due", None]


def test_what_nobody_scheduled_has_a_lifeline_too(bad: Path) -> None:
    history = load(bad)
    told = lane(history, judge_history(history))

    assert next(note for note in told["notes"] if note["key"] == "z") == {
        "key": "z",
        "revs": [{"op": "z/1", "got": [[6.0, 0, 1, "phantom"]]}],
    }
    assert {one["label"] for one in told["violations"]} == {"missed", "duplicate", "phantom"}


def test_of_too_many_every_nth_is_drawn_and_all_are_counted(tmp_path: Path) -> None:
    run_dir = many(tmp_path, notifications=100, missed=range(0, 100, 10))
    history = load(run_dir)
    results = judge_history(history)

    told = lane(history, results, at_most=20, of_more=20)
    drawn_keys = {note["key"] for note in told["notes"]}

    # Ninety in order, of which every fifth; ten that went wrong, fewer than twenty.
    assert told["part"] == {"notes": 100, "every": 5, "every_wrong": 1, "violations": {"missed": 10}}
    assert len(told["notes"]) == 28
    assert len(told["violations"]) == 10
    assert {one["op"].rpartition("/")[0] for one in told["violations"]} <= drawn_keys

    few = lane(history, results, at_most=20, of_more=5)
    assert (few["part"]["every"], few["part"]["every_wrong"]) == (18, 2)
    assert (len(few["notes"]), len(few["violations"])) == (10, 5)

    assert "part" not in lane(history, results, at_most=100)


def test_an_anomaly_comes_with_the_lines_that_name_it_or_else_with_those_of_its_moment(bad: Path) -> None:
    history = load(bad)
    stamp = datetime.fromtimestamp(10**9 + 5, UTC).astimezone().strftime("[%Y-%m-%d %H:%M:%S,")
    lines = [f"{stamp}010: INFO] Task deliver[a/1] received", f"{stamp}020: INFO] something else", "no stamp"]
    (bad / "logs" / "worker-1.log").write_text("\n".join(lines) + "\n")

    found = log_lines(bad, history, judge_history(history))

    assert [line.partition("INFO] ")[2] for line in found["a/1"]] == ["Task deliver[a/1] received"]
    assert [line.partition("INFO] ")[2] for line in found["b/1"]] == ["Task deliver[a/1] received", "something else"]


def test_of_several_seeds_the_matrix_shows_the_rate_and_leads_to_the_worst(good: Path, bad: Path) -> None:
    html = page([cell(good), cell(bad, seed=2)], ideas={})

    assert '<span class="verdict fail">fail 1/2</span>' in html
    assert 'data-show="crash seed 2"' in html


def test_a_run_that_cannot_be_read_is_in_the_matrix_and_spoils_nothing(good: Path, tmp_path: Path) -> None:
    gone = {**cell(good), "design": "gone", "outcome": "unknown", "explanation": "it broke", "run_dir": str(tmp_path)}

    html = page([cell(good), gone], ideas={})

    assert "it broke" in html
    assert len(drawn(html)) == 1


def test_a_run_that_was_drawn_when_it_was_judged_is_not_read_again(good: Path) -> None:
    history = load(good)
    seen = picture(good, history, judge_history(history))
    told = cell(good)
    again = page([told], ideas={})
    (good / "plan.json").unlink()

    assert page([told], ideas={}, pictures={str(good): seen}) == again


def test_a_stored_benchmark_comes_along(good: Path) -> None:
    stored = {
        "machine_info": {"cpu": {"count": 2, "brand_raw": "a processor"}},
        "datetime": "2030-01-01T00:00:00",
        "benchmarks": [
            {"group": "drain", "name": "quick", "stats": {"median": 0.5}},
            {"group": "drain", "name": "slow", "stats": {"median": 1.0}},
        ],
    }

    html = page([cell(good)], ideas={}, benchmark=stored)

    assert "2 cores, a processor" in html and "1000.00 ms" in html and "<td>2.0</td>" in html


def test_a_page_that_cannot_be_written_changes_no_verdict(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.html").mkdir()

    assert write_report([cell(good)], tmp_path) is None

    assert "the verdicts are valid" in capsys.readouterr().err
    assert not [path for path in tmp_path.iterdir() if "draft" in path.name]


def many(tmp_path: Path, *, notifications: int, missed: Collection[int]) -> Path:
    """A run of as many, one after another, of which the `missed` never came."""
    run_dir = tmp_path / "many"
    run_dir.mkdir()
    write(run_dir / "plan.json", {**PLAN, "faults": [], "required_faults": [], "planned": {}})
    ops = [f"event-reminder:{n}:{n * 7}/1" for n in range(notifications)]
    dues = [n * 0.0137 for n in range(notifications)]
    calls = [line for op, due in zip(ops, dues, strict=True) for line in scheduled(op, due_s=due + 5)]
    write_lines(run_dir / "history.jsonl", numbered(calls))
    came = [delivery(op, at_s=due + 5.01) for n, (op, due) in enumerate(zip(ops, dues, strict=True)) if n not in missed]
    canaries = [canary(n, due_s=2.0 * n, at_s=2.0 * n) for n in range(80)]
    write_lines(run_dir / "deliveries.jsonl", [*came, *canaries])
    write_lines(run_dir / "faults.jsonl", fault(inject_s=200.0, healed_s=201.0))
    write_lines(run_dir / "clock.jsonl", [{"wall_ns": 0, "mono_ns": 0}])
    return close(run_dir, at_s=210.0)


def test_ten_thousand_notifications_stay_below_five_megabytes(tmp_path: Path) -> None:
    # Every tenth is missed, so that the page has a thousand sentences to tell.
    run_dir = many(tmp_path, notifications=10_000, missed=range(0, 10_000, 10))

    path = write_page([cell(run_dir)], tmp_path / "report.html", ideas={})

    assert path.stat().st_size < 5_000_000
    (told,) = drawn(path.read_text())
    assert len(told["notes"]) == 10_000
    assert len(told["violations"]) == 1_000
