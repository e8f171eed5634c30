"""The live picture's checker looks at pieces, forgets what is over, and comes to the same numbers as the whole."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from random import Random

import pytest

from duetime.checker import judge
from duetime.demo import live_checker
from duetime.demo.live_checker import LiveChecker
from duetime.history import NEVER, History
from tests.checker.correct_worlds import correct_world
from tests.checker.random_histories import random_history
from tests.checker.small_histories import canary, delivery, numbered, scheduled
from tests.checker.stored_runs import PLAN, close, good_run, store

FILES = ("history.jsonl", "deliveries.jsonl", "faults.jsonl", "clock.jsonl")
ONE_SIDED = {"lost", "stuck", "overdue"}
"""Only at the end is the design's own store searched, and only before it is anything overdue."""


def replay(stored: Path, live: Path, random: Random, *, pieces: int) -> LiveChecker:
    """The files of `stored`, written bit by bit, with a look after each bit."""
    live.mkdir()
    plan = json.loads((stored / "plan.json").read_bytes())
    plan["profile"].setdefault("grace_s", 0.0)
    (live / "plan.json").write_text(json.dumps(plan))
    contents = {name: (stored / name).read_bytes() for name in FILES}
    lines = contents["deliveries.jsonl"].splitlines(keepends=True)
    canaries = b"".join(line for line in lines if b'"canary"' in line)
    contents["deliveries.jsonl"] = canaries + b"".join(line for line in lines if b'"canary"' not in line)
    cuts = {name: sorted(random.randrange(len(text) + 1) for _ in range(pieces)) for name, text in contents.items()}
    # Faults, clocks and canaries are known long before what they excuse is forgotten.
    for name in FILES:
        (live / name).write_bytes(b"" if name in FILES[:2] else contents[name])
    cuts["deliveries.jsonl"] = [max(cut, len(canaries)) for cut in cuts["deliveries.jsonl"]]
    watching = LiveChecker(live)
    for piece in range(pieces):
        for name in FILES[:2]:
            (live / name).write_bytes(contents[name][: cuts[name][piece]])
        watching.look()
    for name in FILES[:2]:
        (live / name).write_bytes(contents[name])
    watching.look()
    return watching


def nonzero(counts: dict[str, int]) -> dict[str, int]:
    return {name: number for name, number in counts.items() if number and name not in ONE_SIDED}


@pytest.fixture(params=[0.0, 1e9], ids=["forgetting at once", "forgetting nothing"])
def shown(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_checker, "SHOWN_S", request.param)


def test_in_pieces_a_run_comes_to_the_same_numbers_as_as_a_whole(shown: None, tmp_path: Path) -> None:
    random = Random(1)
    for number in range(30):
        stored = tmp_path / f"stored-{number}"
        stored.mkdir()
        store(correct_world(random), stored)

        watching = replay(stored, tmp_path / f"live-{number}", random, pieces=random.randrange(1, 6))

        assert nonzero(watching.counts) == nonzero(judge(stored).counts), number


def test_so_does_what_makes_no_sense(shown: None, tmp_path: Path) -> None:
    random = Random(2)
    accused = Counter[str]()
    for number in range(80):
        stored = tmp_path / f"stored-{number}"
        stored.mkdir()
        store_history(random_history(random), stored)

        watching = replay(stored, tmp_path / f"live-{number}", random, pieces=random.randrange(1, 6))

        whole = nonzero(judge(stored).counts)
        accused.update(whole)
        assert nonzero(watching.counts) == whole, number
    assert {"missed", "duplicate", "phantom", "stale", "early", "late"} <= set(accused)


@pytest.mark.parametrize("what", ["step", "late canary", "missing canary", "nothing"])
def test_what_a_witness_saw_long_ago_is_not_forgotten(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str
) -> None:
    monkeypatch.setattr(live_checker, "WITNESSES", 3)
    stored = tmp_path / "stored"
    stored.mkdir()
    (stored / "plan.json").write_text(json.dumps({**PLAN, "faults": [], "planned": {}, "required_faults": []}))
    # Ready while something was wrong with the witnesses, and four seconds late.
    write(stored / "history.jsonl", numbered(scheduled("a/1", due_s=8.0)))
    late = {4: 3.0} if what == "late canary" else {}
    canaries = [canary(n, due_s=2.0 * n, at_s=2.0 * n + late.get(n, 0)) for n in range(30)]
    if what == "missing canary":
        del canaries[4:6]
    write(stored / "deliveries.jsonl", [*canaries[:9], delivery("a/1", at_s=12.0), *canaries[9:]])
    write(stored / "faults.jsonl", [])
    step_ns = 10**9 if what == "step" else 0
    clock = [{"wall_ns": 10**18 + n * 10**9 + (n > 2) * step_ns, "mono_ns": n * 10**9} for n in range(60)]
    write(stored / "clock.jsonl", clock)
    close(stored, at_s=70.0)

    watching = LiveChecker(stored)
    watching.look()

    whole = nonzero(judge(stored).counts)
    assert nonzero(watching.counts) == whole
    assert whole.get("unknown_late", 0) == (what != "nothing")


def test_what_is_over_is_forgotten_and_still_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(live_checker, "SHOWN_S", 0.0)
    stored = tmp_path / "stored"
    stored.mkdir()
    watching = LiveChecker(good_run(stored))

    drawn = watching.look()
    assert len(drawn["notes"]) == 3

    assert watching.look()["notes"] == []
    assert watching.counts["delivered"] == 2
    _, changed, left = watching.since(0)
    assert (changed, len(left)) == ([], 3)


def store_history(history: History, run_dir: Path) -> None:
    """`history` as its files, its revisions counted from 1 as an application counts them; all of it long ago."""
    profile = {**history.plan.profile.as_written, "grace_s": 0.0}
    (run_dir / "plan.json").write_text(
        json.dumps({**PLAN, "profile": profile, "faults": [], "planned": {}, "required_faults": []})
    )
    calls, number = [], Counter[str]()
    lines = sorted(
        [(o.line, o, "invoke") for o in history.operations.values()]
        + [(o.answered_line, o, o.answer) for o in history.operations.values() if o.answered_line],
        key=lambda line: line[0],
    )
    for _, o, kind in lines:
        what = {"f": o.verb, "key": o.key, "revision": o.revision + 1, "due_ns": o.due_ns} if kind == "invoke" else {}
        at_ns = o.invoked_ns if kind == "invoke" else o.answered_ns
        calls.append(
            {"i": number["all"], "op": f"{o.key}/{o.revision + 1}", **what, "type": kind, "client": 0, "at_ns": at_ns}
        )
        number["all"] += 1
    write(run_dir / "history.jsonl", calls)
    write(
        run_dir / "deliveries.jsonl",
        [{"op": f"canary/{c.revision}", "key": "canary", "revision": c.revision, "worker": "canary", "attempt": 1,
          "due_ns": c.due_ns, "at_ns": c.at_ns} for c in history.canaries]
        + [{"op": plus_one(d.op), "key": d.op.rpartition("/")[0], "revision": int(plus_one(d.op).rpartition("/")[2]),
            "worker": d.worker, "attempt": 1, "at_ns": d.at_ns} for d in history.deliveries],
    )  # fmt: skip
    phases = []
    for f in history.faults:
        for phase, at_ns in (("inject", f.injected_ns), ("observed", f.injected_ns), ("healed", f.healed_ns)):
            if at_ns < NEVER:
                phases.append(
                    {
                        "fault": f.fault,
                        "kind": f.kind,
                        "target": f.target,
                        "only": list(f.only),
                        "phase": phase,
                        "at_ns": at_ns,
                    }
                )
    write(run_dir / "faults.jsonl", phases)
    write(run_dir / "clock.jsonl", [{"wall_ns": 0, "mono_ns": 0}])
    (run_dir / "closed.json").write_text(json.dumps({"at_ns": 10**15, "pending": [], "workers_alive": True}))


def write(path: Path, records: Iterable[Mapping[str, object]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def plus_one(op: str) -> str:
    key, _, revision = op.rpartition("/")
    return f"{key}/{int(revision) + 1}"
