"""Damage to the files of a run makes it unknown, and never causes a violation."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from random import Random

import pytest

from duetime.checker import judge
from duetime.history import load
from tests.checker.correct_worlds import correct_world
from tests.checker.small_histories import delivery
from tests.checker.stored_runs import append, close, good_run, store, write

FILES = ["history.jsonl", "deliveries.jsonl", "faults.jsonl", "clock.jsonl"]


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return good_run(tmp_path)


def test_a_malformed_closed_json_counts_as_missing(run_dir: Path) -> None:
    (run_dir / "closed.json").write_text('{"at_ns": 12', encoding="utf-8")

    assert judge(run_dir).unknown_because[0].startswith("closed.json cannot be used")


def test_a_state_of_a_stored_notification_that_is_not_known_is_named(run_dir: Path) -> None:
    closed = json.loads((run_dir / "closed.json").read_bytes())
    write(run_dir / "closed.json", {**closed, "pending": [{"op": "c/1", "where": "jobs", "state": "active"}]})

    assert judge(run_dir).unknown_because[0] == (
        "closed.json cannot be used: ValueError the state of c/1 is 'active'; a design's Pending is waiting, held or "
        "failed"
    )


def left_over(run_dir: Path) -> Path:
    """A good run whose store still has a delivered notification, whose worker was killed, and that no cancel hides."""
    lines = (run_dir / "deliveries.jsonl").read_text().replace('"worker": "worker-1"', '"worker": "worker-2"', 1)
    (run_dir / "deliveries.jsonl").write_text(lines)
    append(run_dir / "deliveries.jsonl", delivery("event:4/7/1", at_s=4.4))
    close(run_dir)
    closed = json.loads((run_dir / "closed.json").read_bytes())
    entry = [{"op": "c/1", "where": "jobs", "state": "held", "back_after_s": 60.0}]
    write(run_dir / "closed.json", {**closed, "pending": entry, "after_stop": entry, "cut_short": []})
    return run_dir


@pytest.mark.parametrize(
    ("file", "proven"), [("history.jsonl", False), ("deliveries.jsonl", True), ("faults.jsonl", True)]
)
def test_without_a_call_that_may_be_lost_a_revision_is_not_known_to_be_current(
    run_dir: Path, file: str, proven: bool
) -> None:
    left_over(run_dir)
    assert judge(run_dir).counts["will_repeat"] == 1
    path = run_dir / file
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))

    assert judge(run_dir).counts["will_repeat"] == int(proven)


@pytest.mark.parametrize("file", FILES)
def test_a_torn_last_line_makes_the_run_unknown_and_is_named(run_dir: Path, file: str) -> None:
    path = run_dir / file
    (run_dir / "closed.json").unlink()
    path.write_bytes(path.read_bytes()[:-7])

    results = judge(run_dir)

    last = path.read_bytes().count(b"\n") + 1
    assert results.outcome == "unknown"
    assert results.unknown_because[0] == f"{file} line {last} is torn: the file ends in the middle of it"


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("kept", [0, 1, 3])
def test_a_truncated_file_makes_the_run_unknown_without_a_violation(run_dir: Path, file: str, kept: int) -> None:
    path = run_dir / file
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:kept]))

    results = judge(run_dir)

    assert (results.outcome, results.violations) == ("unknown", [])
    assert results.unknown_because[0] == f"{file} has {kept} lines, and had {len(lines)} when the run was closed"


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_makes_the_run_unknown(run_dir: Path, file: str) -> None:
    (run_dir / file).unlink()

    results = judge(run_dir)

    assert (results.outcome, results.violations) == ("unknown", [])
    assert f"{file} was there when the run was closed and is missing now" in results.unknown_because


@pytest.mark.parametrize("file", FILES)
def test_any_altered_byte_makes_the_run_unknown_without_a_violation(run_dir: Path, file: str) -> None:
    path, random = run_dir / file, Random(file)
    whole = path.read_bytes()
    for _ in range(300):
        at, byte = random.randrange(len(whole)), random.choice(b'0123456789"{}\n\xff ')
        if whole[at] == byte:
            continue
        path.write_bytes(whole[:at] + bytes([byte]) + whole[at + 1 :])

        results = judge(run_dir)

        assert (results.outcome, results.violations) == ("unknown", [])
        assert any(problem.startswith(file) for problem in results.unknown_because)


@pytest.mark.parametrize("line", ["not json", "[]", "null", "7", '"x"', "{}", '{"op": []}', "[" * 99999, "\udcff"])
@pytest.mark.parametrize("file", FILES)
def test_a_malformed_line_in_any_file_is_named_and_never_raises(run_dir: Path, file: str, line: str) -> None:
    path = run_dir / file
    whole = path.read_bytes()
    path.write_bytes(line.encode(errors="surrogateescape") + b"\n" + whole)
    close(run_dir)

    results = judge(run_dir)

    assert (results.outcome, results.violations) == ("unknown", [])
    assert results.unknown_because[0].startswith(f"{file} line 1 ")


@pytest.mark.parametrize(
    ("at_ns", "reason"), [(-(10**400), "too large to be an instant"), (8.5e9, "is not a whole number")]
)
def test_an_instant_out_of_range_is_a_malformed_line(run_dir: Path, at_ns: float, reason: str) -> None:
    append(run_dir / "deliveries.jsonl", delivery("c/1", at_s=8.0) | {"at_ns": at_ns})
    close(run_dir)

    results = judge(run_dir)

    assert (results.outcome, results.violations) == ("unknown", [])
    assert reason in results.unknown_because[0]


def test_of_many_malformed_lines_only_the_first_are_listed(run_dir: Path) -> None:
    (run_dir / "history.jsonl").write_text("?\n" * 1000, encoding="utf-8")
    close(run_dir)

    problems = load(run_dir).problems

    assert len(problems) == 6
    assert problems[-1] == "history.jsonl has 995 more such problems"


def test_a_gap_in_the_numbering_of_a_client_makes_the_run_unknown(run_dir: Path) -> None:
    path = run_dir / "history.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    close(run_dir)

    results = judge(run_dir)

    assert (results.outcome, results.violations) == ("unknown", [])
    assert results.unknown_because[0] == "history.jsonl line 3: client 0 wrote i=3 where i=2 was next"


def test_a_delivery_whose_schedule_may_be_lost_is_no_phantom(run_dir: Path) -> None:
    path = run_dir / "history.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[2:]))

    results = judge(run_dir)

    assert (results.outcome, results.counts["unproven"], results.counts["phantom"]) == ("unknown", 1, 0)


def test_a_truncated_history_still_proves_a_duplicate(run_dir: Path) -> None:
    append(run_dir / "deliveries.jsonl", delivery("event:4/7/1", at_s=6.6))
    close(run_dir)
    path = run_dir / "history.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))

    assert judge(run_dir).ops_with("duplicate") == {"event:4/7/1"}


def test_no_notification_is_missed_when_deliveries_are_truncated(run_dir: Path) -> None:
    path = run_dir / "deliveries.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[2:]))

    results = judge(run_dir)

    assert (results.outcome, results.counts["open"], results.counts["missed"]) == ("unknown", 2, 0)


def test_no_notification_is_missed_when_faults_are_truncated(run_dir: Path) -> None:
    (run_dir / "deliveries.jsonl").write_text("")
    close(run_dir)
    (run_dir / "faults.jsonl").write_text("")

    assert judge(run_dir).counts["missed"] == 0


def test_no_notification_is_missed_when_deliveries_were_altered(run_dir: Path) -> None:
    path = run_dir / "deliveries.jsonl"
    path.write_text(path.read_text().replace('"c/1", "key": "c"', '"d/1", "key": "d"'))

    results = judge(run_dir)

    assert (results.outcome, results.counts["missed"], results.counts["open"]) == ("unknown", 0, 1)


def test_no_delivery_is_late_when_faults_are_truncated(run_dir: Path) -> None:
    path = run_dir / "deliveries.jsonl"
    late = json.dumps(delivery("c/1", at_s=10.5)) + "\n"
    path.write_text(late + "".join(path.read_text().splitlines(keepends=True)[1:]))
    close(run_dir)
    assert judge(run_dir).ops_with("late") == {"c/1"}

    (run_dir / "faults.jsonl").write_text("")

    assert (judge(run_dir).outcome, judge(run_dir).counts["unproven"]) == ("unknown", 1)


def test_a_delivered_cancel_is_a_phantom_even_in_an_incomplete_history(run_dir: Path) -> None:
    append(run_dir / "deliveries.jsonl", delivery("b/2", at_s=5.5))
    close(run_dir)
    path = run_dir / "history.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))

    assert judge(run_dir).ops_with("phantom") == {"b/2"}


def test_no_delivery_is_early_when_clock_samples_were_altered(run_dir: Path) -> None:
    append(run_dir / "deliveries.jsonl", delivery("c/1", at_s=2.0))
    close(run_dir)
    path = run_dir / "clock.jsonl"
    path.write_text(path.read_text().replace('"mono_ns": 0', '"mono_ns": 1'))

    assert {found.label for found in judge(run_dir).labelled if found.delivery.at_ns == 2 * 10**9} == {"unknown_early"}


def test_a_run_without_clock_samples_or_canaries_is_unknown(run_dir: Path) -> None:
    for file in ("clock.jsonl", "deliveries.jsonl"):
        path = run_dir / file
        path.write_text("".join(line for line in path.read_text().splitlines(keepends=True)[:2] if "op" in line))
    close(run_dir)

    assert judge(run_dir).unknown_because == [
        "no canary was delivered, so nothing shows that the harness itself was on time",
        "the clocks were never sampled, so early and late cannot be judged",
    ]


@pytest.mark.parametrize("again", [{"type": "invoke", "due_ns": 9_000_000_000}, {"type": "ok"}])
def test_contradictory_lines_leave_the_operation_unanswered(run_dir: Path, again: dict[str, object]) -> None:
    common = {"op": "c/1", "key": "c", "revision": 1, "f": "schedule", "client": 1, "i": 2, "at_ns": 9_000_000_000}
    append(run_dir / "history.jsonl", common | again)
    close(run_dir)

    results = judge(run_dir)

    assert (results.outcome, results.labelled[0].label) == ("unknown", "recovered")
    assert "a second time" in results.unknown_because[0]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (
            {"op": "d/2", "key": "d", "revision": 1, "f": "schedule", "due_ns": 0, "type": "invoke"},
            "is not key 'd' and",
        ),
        ({"op": "d/1", "key": "d", "revision": 1, "f": "delay", "due_ns": 0, "type": "invoke"}, "neither schedule nor"),
        ({"op": "d/1", "type": "ok"}, "was never invoked"),
        ({"op": "c/1", "type": "maybe"}, "none of invoke, ok, fail, info"),
    ],
)
def test_an_inconsistent_operation_is_named(run_dir: Path, wrong: dict[str, object], reason: str) -> None:
    append(run_dir / "history.jsonl", {"client": 1, "i": 2, "at_ns": 9 * 10**9, **wrong})
    close(run_dir)

    results = judge(run_dir)

    assert (results.outcome, results.violations) == ("unknown", [])
    assert reason in results.unknown_because[0]


def test_an_answer_before_its_call_is_ignored(tmp_path: Path) -> None:
    path = good_run(tmp_path) / "history.jsonl"
    call, answer = (json.loads(line) for line in path.read_text().splitlines()[-2:])
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True)[:-1]))
    append(path, answer | {"at_ns": call["at_ns"] - 1})
    close(tmp_path)

    assert judge(tmp_path).labelled[0].label == "recovered"


def test_of_two_due_times_for_one_operation_the_earlier_counts(run_dir: Path) -> None:
    again = {"op": "c/1", "key": "c", "revision": 1, "f": "schedule", "due_ns": 10**9, "type": "invoke"}
    append(run_dir / "history.jsonl", {"client": 1, "i": 2, "at_ns": 9 * 10**9, **again})
    append(run_dir / "deliveries.jsonl", delivery("c/1", at_s=2.0))
    close(run_dir)

    assert judge(run_dir).ops_with("early") == set()


def test_a_line_count_that_differs_from_closed_json_makes_the_run_unknown(run_dir: Path) -> None:
    closed = json.loads((run_dir / "closed.json").read_text())
    write(run_dir / "closed.json", {**closed, "sha256": {}, "lines": {**closed["lines"], "clock.jsonl": 11}})

    assert judge(run_dir).outcome == "unknown"


def test_a_correct_world_has_no_violation_with_missing_lines(tmp_path: Path) -> None:
    random = Random(9)
    for _ in range(750):
        store(correct_world(random, starved=random.random() < 0.3), tmp_path)
        path = tmp_path / random.choice(FILES)
        lines = path.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if random.random() < 0.7]
        path.write_bytes(b"".join(kept))

        results = judge(tmp_path)

        assert results.violations == []
        assert results.outcome == "unknown" or kept == lines


def test_a_correct_world_has_no_violation_with_a_malformed_line(
    tmp_path: Path,
) -> None:
    random = Random(10)
    for _ in range(750):
        store(correct_world(random), tmp_path)
        path = tmp_path / random.choice(FILES)
        lines = path.read_bytes().splitlines(keepends=True)
        at = random.randrange(len(lines) + 1)
        path.write_bytes(b"".join([*lines[:at], b"?\n", *lines[at + 1 :]]))
        close(tmp_path, at_s=100.0)

        results = judge(tmp_path)

        assert (results.outcome, results.violations) == ("unknown", [])


def test_a_plan_altered_after_the_run_makes_it_unknown(run_dir: Path) -> None:
    closed = json.loads((run_dir / "closed.json").read_text())
    digest = hashlib.sha256((run_dir / "plan.json").read_bytes()).hexdigest()
    write(run_dir / "closed.json", {**closed, "sha256": {**closed["sha256"], "plan.json": digest}})
    assert judge(run_dir).outcome == "pass"

    plan = json.loads((run_dir / "plan.json").read_text())
    write(run_dir / "plan.json", {**plan, "profile": {**plan["profile"], "lateness_limit_s": 60}})

    assert judge(run_dir).unknown_because[0].startswith("plan.json was altered after the run was closed")
