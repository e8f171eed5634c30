"""The main findings, in real runs, and the files that the runs leave for a check."""

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
    """Run ``duetime compare``: three designs in four scenarios."""
    return Matrix(*compared("--seed", "11", out=tmp_path_factory.mktemp("runs")))


def test_every_cell_is_within_its_guarantees(matrix: Matrix) -> None:
    assert set(matrix.cells) == {(scenario, design) for scenario in SCENARIOS for design in DESIGNS}
    assert {name: cell["within_guarantees"] for name, cell in matrix.cells.items()} == dict.fromkeys(matrix.cells, True)
    assert matrix.status == 0


@pytest.mark.parametrize("design", DESIGNS)
def test_without_faults_every_design_delivers_everything_once(matrix: Matrix, design: str) -> None:
    assert matrix.cells["calm", design]["outcome"] == "pass"


@pytest.mark.full
def test_a_deploy_whose_grace_a_delivery_outlasts_loses_what_an_orderly_deploy_returns(tmp_path: Path) -> None:
    queue, names = "oban_style_queue", ("rolling_deploy", "deploy_too_slow")
    designs = [queue, f"{queue}:hardened", f"{queue}:soft_shutdown", "push_readmodel"]
    _, cells = compared("--designs", ",".join(designs), "--scenarios", ",".join(names), out=tmp_path)

    failing = {name for name, cell in cells.items() if cell["outcome"] != "pass"}
    assert failing == {("deploy_too_slow", queue)}
    assert cells["deploy_too_slow", queue]["counts"]["stuck"] > 0
    lateness = [cells["deploy_too_slow", design]["lateness_s"]["raw"]["max"] for design in designs[1:3]]
    assert lateness[1] < lateness[0], "a soft shutdown returns the tasks before the visibility timeout does"


def test_the_poller_misses_under_downtime_and_duplicates_with_more_workers(matrix: Matrix) -> None:
    assert matrix.cells["downtime", "pull_worker"]["counts"]["missed"] > 0
    assert matrix.cells["more_servers", "pull_worker"]["counts"]["duplicate"] > 0


@pytest.mark.parametrize("scenario", ["more_servers", "downtime"])
def test_the_read_model_neither_misses_nor_duplicates(matrix: Matrix, scenario: str) -> None:
    assert matrix.cells[scenario, "push_readmodel"]["outcome"] == "pass"


def test_a_crash_duplicates_at_most_the_interrupted_batch_of_the_read_model(matrix: Matrix) -> None:
    cell = matrix.cells["crash", "push_readmodel"]
    broken = {label: cell["counts"][label] for label in ("missed", "early", "late", "phantom", "stale")}

    assert set(broken.values()) == {0}
    assert 1 <= cell["counts"]["duplicate"] <= 2  # a delivery takes 50 ms, so a batch has one or two


@pytest.mark.parametrize("scenario", ["downtime", "crash"])
def test_the_messages_of_a_killed_queue_worker_are_still_in_the_broker(matrix: Matrix, scenario: str) -> None:
    counts = matrix.cells[scenario, "oban_style_queue"]["counts"]

    assert counts["stuck"] > 0
    assert counts["missed"] == counts["stuck"] + counts["lost"]
    assert counts["duplicate"] == 0


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("scenario", ["downtime", "crash"])
def test_every_kill_is_verified_and_healed(matrix: Matrix, scenario: str, design: str) -> None:
    records = json_lines(Path(matrix.cells[scenario, design]["run_dir"]) / "faults.jsonl")

    assert [record["phase"] for record in records] == ["inject", "observed", "heal", "healed"]
    assert "gone" in records[1]["evidence"]
    if scenario == "crash":
        assert records[1]["delivery"]["phase"] == "between"
    assert "ready" in records[3]["evidence"]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_all_designs_run_the_same_plan(matrix: Matrix, scenario: str) -> None:
    hashes = set()
    for design in DESIGNS:
        plan = json.loads((Path(matrix.cells[scenario, design]["run_dir"]) / "plan.json").read_text())
        hashes.add(plan["plan_hash"])

    assert len(hashes) == 1


def test_a_failing_cell_has_a_sentence_of_evidence(matrix: Matrix) -> None:
    for cell in matrix.cells.values():
        if cell["outcome"] == "fail":
            assert re.search(r"\d+ [a-z]+\. .* at \d+\.\d s.* Fix: ", cell["explanation"]), cell


def test_checking_a_stored_run_again_gives_the_same_bytes(matrix: Matrix, tmp_path: Path) -> None:
    original = Path(matrix.cells["downtime", "pull_worker"]["run_dir"])
    moved = tmp_path / "moved"
    shutil.copytree(original, moved)
    (moved / "results.json").unlink()

    assert duetime("check", str(moved), "--strict").returncode == 1
    assert (moved / "results.json").read_bytes() == (original / "results.json").read_bytes()


@pytest.mark.parametrize("scenario", ["calm", "downtime"])
def test_the_poller_delivers_what_its_poll_log_predicts(matrix: Matrix, scenario: str) -> None:
    """Compare two independent sources: the windows in the poll log, and the verdict."""
    run_dir = Path(matrix.cells[scenario, "pull_worker"]["run_dir"])
    log = (run_dir / "logs" / "worker-1.log").read_text()
    polls = logged_polls(log)
    delivered = Counter(str(line["op"]) for line in labels(run_dir) if "label" in line)
    judged = {str(line["op"]): line["state"] for line in labels(run_dir) if "state" in line}
    operations = acknowledged(run_dir)
    unfinished = unfinished_polls(log)

    predicted = {
        op: sum(operations[op].is_covered_by(poll) for poll in polls)
        for op, state in judged.items()
        if state in ("delivered", "missed") and not any(poll.may_cover(operations[op]) for poll in unfinished)
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
    """An acknowledged revision: the time it became visible, its event's start, and when a newer one replaced it."""

    since: datetime
    starts_at: datetime
    until: datetime

    def is_covered_by(self, poll: Poll) -> bool:
        return poll.starts_from <= self.starts_at <= poll.starts_until and self.since <= poll.at < self.until


class UnfinishedPoll(NamedTuple):
    """A poll that was received and then killed; its deliveries are not in the log."""

    received: datetime

    def may_cover(self, operation: Acknowledged) -> bool:
        # It read the clock after it was received, and its window is the interval before that.
        return abs(operation.starts_at - LEAD - self.received) < timedelta(seconds=1.5)


def logged_polls(log: str) -> list[Poll]:
    windows = re.findall(r"poll window=(\S+)/(\S+) delivered=", log)
    assert len(windows) > 5
    return [Poll(datetime.fromisoformat(first), datetime.fromisoformat(last)) for first, last in windows]


def unfinished_polls(log: str) -> list[UnfinishedPoll]:
    received = re.findall(r"\[(\S+ \S+): INFO/MainProcess\] Task pull_worker\.poll\[(\S+)\] received", log)
    succeeded = set(re.findall(r"Task pull_worker\.poll\[(\S+)\] succeeded", log))
    return [
        UnfinishedPoll(datetime.strptime(at, "%Y-%m-%d %H:%M:%S,%f").astimezone())
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
