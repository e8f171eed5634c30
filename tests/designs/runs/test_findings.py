"""The main job, once, for real: what it must find, and what it must leave behind for others to check."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.commands import compared, duetime, json_lines, labels

pytestmark = pytest.mark.runs

DESIGNS = ("pull_worker", "push_readmodel", "oban_style_queue")
SCENARIOS = ("calm", "more_servers", "downtime", "crash")

Cells = dict[tuple[str, str], dict[str, Any]]


class Matrix(NamedTuple):
    status: int
    cells: Cells


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    """All three designs in all four scenarios, as ``duetime compare`` runs them."""
    return Matrix(*compared("--seed", "11", out=tmp_path_factory.mktemp("runs")))


def test_every_cell_comes_out_as_its_design_promises(matrix: Matrix) -> None:
    assert set(matrix.cells) == {(scenario, design) for scenario in SCENARIOS for design in DESIGNS}
    assert {name: cell["within_guarantees"] for name, cell in matrix.cells.items()} == dict.fromkeys(matrix.cells, True)
    assert matrix.status == 0


@pytest.mark.parametrize("design", DESIGNS)
def test_on_a_quiet_day_every_design_delivers_everything_once(matrix: Matrix, design: str) -> None:
    assert matrix.cells["calm", design]["outcome"] == "pass"


def test_the_poller_misses_under_downtime_and_repeats_with_more_servers(matrix: Matrix) -> None:
    assert matrix.cells["downtime", "pull_worker"]["counts"]["missed"] > 0
    assert matrix.cells["more_servers", "pull_worker"]["counts"]["duplicate"] > 0


@pytest.mark.parametrize("scenario", ["more_servers", "downtime"])
def test_the_read_model_does_neither(matrix: Matrix, scenario: str) -> None:
    assert matrix.cells[scenario, "push_readmodel"]["outcome"] == "pass"


def test_a_crash_makes_the_read_model_repeat_at_most_the_batch_that_it_interrupted(matrix: Matrix) -> None:
    cell = matrix.cells["crash", "push_readmodel"]
    broken = {label: cell["counts"][label] for label in ("missed", "early", "late", "phantom", "stale")}

    assert set(broken.values()) == {0}
    assert 1 <= cell["counts"]["duplicate"] <= 2  # deliveries of 50 ms, so one or two a batch


@pytest.mark.parametrize("scenario", ["downtime", "crash"])
def test_what_a_killed_worker_held_of_the_queue_is_still_in_the_broker(matrix: Matrix, scenario: str) -> None:
    counts = matrix.cells[scenario, "oban_style_queue"]["counts"]

    assert counts["stuck"] > 0
    assert counts["missed"] == counts["stuck"] + counts["lost"]
    assert counts["duplicate"] == 0


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("scenario", ["downtime", "crash"])
def test_every_kill_is_seen_to_bite_and_to_heal(matrix: Matrix, scenario: str, design: str) -> None:
    records = json_lines(Path(matrix.cells[scenario, design]["run_dir"]) / "faults.jsonl")

    assert [record["phase"] for record in records] == ["inject", "observed", "heal", "healed"]
    assert "gone" in records[1]["evidence"]
    if scenario == "crash":
        assert "before that delivery was over" in records[0]["evidence"]
    assert "ready" in records[3]["evidence"]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_all_designs_went_through_the_same_plan(matrix: Matrix, scenario: str) -> None:
    hashes = set()
    for design in DESIGNS:
        plan = json.loads((Path(matrix.cells[scenario, design]["run_dir"]) / "plan.json").read_text())
        hashes.add(plan["plan_hash"])

    assert len(hashes) == 1


def test_a_failing_cell_explains_itself_in_one_sentence_of_evidence(matrix: Matrix) -> None:
    for cell in matrix.cells.values():
        if cell["outcome"] == "fail":
            assert re.search(r"\d+ [a-z]+\. .* at \d+\.\d s.* Fix: ", cell["explanation"]), cell


def test_judging_the_stored_files_again_gives_the_same_bytes(matrix: Matrix, tmp_path: Path) -> None:
    original = Path(matrix.cells["downtime", "pull_worker"]["run_dir"])
    moved = tmp_path / "moved"
    shutil.copytree(original, moved)
    (moved / "results.json").unlink()

    assert duetime("check", str(moved)).returncode == 1
    assert (moved / "results.json").read_bytes() == (original / "results.json").read_bytes()


@pytest.mark.parametrize("scenario", ["calm", "downtime"])
def test_the_poller_sends_exactly_what_its_own_poll_log_predicts(matrix: Matrix, scenario: str) -> None:
    """Two accounts of one run that share nothing: the windows that polls say they covered, and the verdict."""
    run_dir = Path(matrix.cells[scenario, "pull_worker"]["run_dir"])
    log = (run_dir / "logs" / "worker-1.log").read_text()
    polls = logged_polls(log)
    delivered = Counter(str(line["op"]) for line in labels(run_dir) if "label" in line)
    judged = {str(line["op"]): line["state"] for line in labels(run_dir) if "state" in line}
    operations = acknowledged(run_dir)
    unfinished = cut_short(log)

    predicted = {
        op: sum(operations[op].is_seen_by(poll) for poll in polls)
        for op, state in judged.items()
        if state in ("delivered", "missed") and not any(cut.may_cover(operations[op]) for cut in unfinished)
    }

    assert len(predicted) > sum(state in ("delivered", "missed") for state in judged.values()) / 2
    assert {op: delivered[op] for op in predicted} == predicted
    assert {op for op, times in predicted.items() if times == 0} == {
        op for op, state in judged.items() if state == "missed" and op in predicted
    }


LEAD = timedelta(seconds=10)


class Poll(NamedTuple):
    starts_from: datetime
    starts_until: datetime

    @property
    def at(self) -> datetime:
        return self.starts_until - LEAD


class Acknowledged(NamedTuple):
    """When a revision became visible, when its event starts, and when a newer revision replaced it."""

    since: datetime
    starts_at: datetime
    until: datetime

    def is_seen_by(self, poll: Poll) -> bool:
        return poll.starts_from <= self.starts_at <= poll.starts_until and self.since <= poll.at < self.until


class CutShort(NamedTuple):
    """A poll that was received and killed: what it had delivered by then its log does not say."""

    received: datetime

    def may_cover(self, operation: Acknowledged) -> bool:
        # It read the clock at some time after it was received, and its window is of one interval before that.
        return abs(operation.starts_at - LEAD - self.received) < timedelta(seconds=1.5)


def logged_polls(log: str) -> list[Poll]:
    windows = re.findall(r"poll window=(\S+)/(\S+) delivered=", log)
    assert len(windows) > 5
    return [Poll(datetime.fromisoformat(first), datetime.fromisoformat(last)) for first, last in windows]


def cut_short(log: str) -> list[CutShort]:
    received = re.findall(r"\[(\S+ \S+): INFO/MainProcess\] Task pull_worker\.poll\[(\S+)\] received", log)
    succeeded = set(re.findall(r"Task pull_worker\.poll\[(\S+)\] succeeded", log))
    return [
        CutShort(datetime.strptime(at, "%Y-%m-%d %H:%M:%S,%f").astimezone())
        for at, task in received
        if task not in succeeded
    ]


def acknowledged(run_dir: Path) -> dict[str, Acknowledged]:
    sample = json_lines(run_dir / "clock.jsonl")[0]

    def wall(mono_ns: int) -> datetime:
        microseconds = round((mono_ns + sample["wall_ns"] - sample["mono_ns"]) / 1000)
        return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=microseconds)

    history = json_lines(run_dir / "history.jsonl")
    returned = {line["op"]: line["at_ns"] for line in history if line["type"] == "ok"}
    invoked = {line["op"]: line for line in history if line["type"] == "invoke"}
    operations = {}
    for op, line in invoked.items():
        newer = returned.get(f"{line['key']}/{line['revision'] + 1}")
        if line["f"] == "schedule" and op in returned:
            operations[op] = Acknowledged(
                since=wall(returned[op]),
                starts_at=wall(line["due_ns"]) + LEAD,
                until=wall(newer) if newer else datetime.max.replace(tzinfo=UTC),
            )
    return operations
