"""The live checker reads a run in pieces, removes settled notifications, and has the counts of the whole run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from random import Random

import pytest

from duetime.checker import VIOLATIONS, judge
from duetime.demo import live_checker
from duetime.demo.live_checker import LiveChecker
from duetime.history import NEVER, History
from tests.checker.correct_worlds import correct_world
from tests.checker.random_histories import random_history
from tests.checker.small_histories import canary, delivery, numbered, scheduled
from tests.checker.stored_runs import PLAN, close, good_run, store

FILES = ("history.jsonl", "deliveries.jsonl", "faults.jsonl", "clock.jsonl")
ONE_SIDED = {"lost", "stuck", "overdue"}
"""`lost` and `stuck` need the design's store, which is searched at the end; `overdue` exists before the end only."""


def replay(stored: Path, live: Path, random: Random, *, pieces: int) -> LiveChecker:
    """Write the files of `stored` in random pieces, with a check after each."""
    live.mkdir()
    plan = json.loads((stored / "plan.json").read_bytes())
    plan["profile"].setdefault("grace_s", 0.0)
    (live / "plan.json").write_text(json.dumps(plan))
    contents = {name: (stored / name).read_bytes() for name in FILES}
    lines = contents["deliveries.jsonl"].splitlines(keepends=True)
    canaries = b"".join(line for line in lines if b'"canary"' in line)
    contents["deliveries.jsonl"] = canaries + b"".join(line for line in lines if b'"canary"' not in line)
    cuts = {name: sorted(random.randrange(len(text) + 1) for _ in range(pieces)) for name, text in contents.items()}
    # Faults, clocks and canaries are complete: they are recorded long before notifications are removed.
    for name in FILES:
        (live / name).write_bytes(b"" if name in FILES[:2] else contents[name])
    cuts["deliveries.jsonl"] = [max(cut, len(canaries)) for cut in cuts["deliveries.jsonl"]]
    checker = LiveChecker(live)
    for piece in range(pieces):
        for name in FILES[:2]:
            (live / name).write_bytes(contents[name][: cuts[name][piece]])
        checker.check()
    for name in FILES[:2]:
        (live / name).write_bytes(contents[name])
    checker.check()
    return checker


def nonzero(counts: dict[str, int]) -> dict[str, int]:
    return {name: number for name, number in counts.items() if number and name not in ONE_SIDED}


@pytest.fixture(params=[0.0, 1e9], ids=["removes at once", "removes nothing"])
def any_shown_s(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_checker, "SHOWN_S", request.param)


def test_a_correct_run_read_in_pieces_has_the_counts_of_the_whole(any_shown_s: None, tmp_path: Path) -> None:
    random = Random(1)
    for number in range(30):
        stored = tmp_path / f"stored-{number}"
        stored.mkdir()
        store(correct_world(random), stored)

        checker = replay(stored, tmp_path / f"live-{number}", random, pieces=random.randrange(1, 6))

        assert nonzero(checker.counts) == nonzero(judge(stored).counts), number


def test_a_random_history_read_in_pieces_has_the_counts_of_the_whole(any_shown_s: None, tmp_path: Path) -> None:
    random = Random(2)
    found = Counter[str]()
    for number in range(80):
        stored = tmp_path / f"stored-{number}"
        stored.mkdir()
        store_history(random_history(random), stored)

        checker = replay(stored, tmp_path / f"live-{number}", random, pieces=random.randrange(1, 6))

        whole = nonzero(judge(stored).counts)
        found.update(whole)
        assert nonzero(checker.counts) == whole, number
    # A live page looks into no store.
    assert set(VIOLATIONS) - {"will_repeat"} <= set(found)


@pytest.mark.parametrize("event", ["step", "late canary", "missing canary", "nothing"])
def test_an_old_canary_or_clock_reading_that_excuses_lateness_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, event: str
) -> None:
    monkeypatch.setattr(live_checker, "WITNESSES", 3)
    stored = tmp_path / "stored"
    stored.mkdir()
    (stored / "plan.json").write_text(json.dumps({**PLAN, "faults": [], "planned": {}, "required_faults": []}))
    # Ready at the time of the event, and four seconds late.
    write(stored / "history.jsonl", numbered(scheduled("a/1", due_s=8.0)))
    late = {4: 3.0} if event == "late canary" else {}
    canaries = [canary(n, due_s=2.0 * n, at_s=2.0 * n + late.get(n, 0)) for n in range(30)]
    if event == "missing canary":
        del canaries[4:6]
    write(stored / "deliveries.jsonl", [*canaries[:9], delivery("a/1", at_s=12.0), *canaries[9:]])
    write(stored / "faults.jsonl", [])
    step_ns = 10**9 if event == "step" else 0
    clock = [{"wall_ns": 10**18 + n * 10**9 + (n > 2) * step_ns, "mono_ns": n * 10**9} for n in range(60)]
    write(stored / "clock.jsonl", clock)
    close(stored, at_s=70.0)

    checker = LiveChecker(stored)
    checker.check()

    whole = nonzero(judge(stored).counts)
    assert nonzero(checker.counts) == whole
    assert whole.get("unknown_late", 0) == (event != "nothing")


def test_a_settled_notification_is_removed_and_still_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(live_checker, "SHOWN_S", 0.0)
    stored = tmp_path / "stored"
    stored.mkdir()
    checker = LiveChecker(good_run(stored))

    drawn = checker.check()
    assert len(drawn["notes"]) == 3

    assert checker.check()["notes"] == []
    assert checker.counts["delivered"] == 2
    _, changed, removed = checker.since(0)
    assert (changed, len(removed)) == ([], 3)


def store_history(history: History, run_dir: Path) -> None:
    """Write `history` as the files of an old run, with revisions that start at 1."""
    profile = {**history.plan.profile.as_written, "grace_s": 0.0}
    (run_dir / "plan.json").write_text(
        json.dumps({**PLAN, "profile": profile, "faults": [], "planned": {}, "required_faults": []})
    )
    calls: list[Mapping[str, object]] = []
    lines = sorted(
        [(o.line, o, "invoke") for o in history.operations.values()]
        + [(o.answered_line, o, o.answer) for o in history.operations.values() if o.answered_line],
        key=lambda line: line[0],
    )
    for _, o, kind in lines:
        call = {"f": o.verb, "key": o.key, "revision": o.revision + 1, "due_ns": o.due_ns} if kind == "invoke" else {}
        at_ns = o.invoked_ns if kind == "invoke" else o.answered_ns
        calls.append(
            {"i": len(calls), "op": f"{o.key}/{o.revision + 1}", **call, "type": kind, "client": 0, "at_ns": at_ns}
        )
    write(run_dir / "history.jsonl", calls)
    write(
        run_dir / "deliveries.jsonl",
        [{"op": f"canary/{c.revision}", "key": "canary", "revision": c.revision, "worker": "canary", "attempt": 1,
          "due_ns": c.due_ns, "at_ns": c.at_ns} for c in history.canaries]
        + [{"op": plus_one(d.op), "key": d.op.rpartition("/")[0], "revision": int(plus_one(d.op).rpartition("/")[2]),
            "worker": d.worker, "attempt": 1, "at_ns": d.at_ns} for d in history.deliveries],
    )  # fmt: skip
    phases = [
        {"fault": f.fault, "kind": f.kind, "target": f.target, "only": list(f.only), "phase": phase, "at_ns": at_ns}
        for f in history.faults
        for phase, at_ns in (("inject", f.injected_ns), ("observed", f.injected_ns), ("healed", f.healed_ns))
        if at_ns < NEVER
    ]
    write(run_dir / "faults.jsonl", phases)
    write(run_dir / "clock.jsonl", [{"wall_ns": 0, "mono_ns": 0}])
    (run_dir / "closed.json").write_text(json.dumps({"at_ns": 10**15, "pending": [], "workers_alive": True}))


def write(path: Path, records: Iterable[Mapping[str, object]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def plus_one(op: str) -> str:
    key, _, revision = op.rpartition("/")
    return f"{key}/{int(revision) + 1}"
