"""Judges a run while it goes on, with the same checker as a finished run.

Only recent notifications are judged again. Older ones are kept as counts, so that memory does not grow with the length
of a demo. If an old notification is delivered again, its lines are read back from the files.
"""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from duetime.checker import Results, judge_history
from duetime.checker.evidence import STEP_NS
from duetime.history import Closed, History, Operation, RecordedPlan, assemble
from duetime.history.assemble import CLOCK, DELIVERIES, FAULTS
from duetime.history.pairing import HISTORY
from duetime.history.tail import Line, Tail
from duetime.report.lane import Numbers, lane

SHOWN_S = 75.0
"""How long a notification is kept after its end."""
WITNESSES = 600
"""Canaries and clock readings that are kept; they cover more time than the notifications that are kept."""
SETTLED = ("delivered", "missed", "none_due", "indeterminate")
REMOVED_KEYS = 20_000
"""How many removed keys are remembered; a page that missed more of them reloads everything."""


class LiveChecker:
    """One live run, judged again by each call of `check`."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._tails = {name: Tail(run_dir / name) for name in (HISTORY, DELIVERIES, FAULTS, CLOCK)}
        self._calls: dict[str, list[Line]] = defaultdict(list)
        self._deliveries: dict[str, list[Line]] = defaultdict(list)
        self._canaries: list[Line] = []
        self._last_revision: int | None = None
        self._faults: list[Line] = []
        self._clock: list[Line] = []
        self._removed_counts = Counter[str]()
        self._notes: dict[str, Numbers] = {}
        self._changed_at: dict[str, int] = {}
        self._removed: deque[tuple[int, str]] = deque(maxlen=REMOVED_KEYS)
        self._checks = 0
        self._now_ns = 0
        self.counts: dict[str, int] = {}
        self._plan = RecordedPlan.from_json(json.loads((run_dir / "plan.json").read_bytes()))

    def check(self) -> Numbers:
        """Read new lines, judge, and return the lane; `since` returns what changed."""
        self._checks += 1
        # Taken before reading: every line recorded by this time will be read.
        self._now_ns = time.monotonic_ns()
        self._read()
        history = self._history(self._calls.keys())
        results = judge_history(history)
        drawn = lane(history, results)
        overdue = self._mark_overdue(drawn, history)
        self.counts = {**(Counter(results.counts) + self._removed_counts), "overdue": overdue}
        self._note_changes(drawn)
        self._remove_settled(history, results)
        return {**drawn, "counts": self.counts}

    def since(self, check: int) -> tuple[bool, list[Numbers], list[str]]:
        """Return the notifications that changed and the keys removed after check number `check`.

        The first value is True if the notifications are all that there are, and replace those known before.
        """
        forgotten = len(self._removed) == REMOVED_KEYS and self._removed[0][0] > check
        everything = check == 0 or forgotten
        changed = [note for key, note in self._notes.items() if everything or self._changed_at[key] > check]
        removed = [key for removed_at, key in self._removed if removed_at > check and key not in self._notes]
        return everything, changed, removed

    def _read(self) -> None:
        calls: dict[str, list[Line]] = defaultdict(list)
        deliveries: dict[str, list[Line]] = defaultdict(list)
        for line in self._tails[HISTORY].read():
            calls[_key(line[1])].append(line)
        # After the calls: a delivery is recorded later than the call that scheduled it.
        for line in self._tails[DELIVERIES].read():
            if line[1]["worker"] == "canary":
                self._add_canary(line)
            else:
                deliveries[_key(line[1])].append(line)
        self._faults += self._tails[FAULTS].read()
        self._clock += self._tails[CLOCK].read()
        self._drop_old_witnesses()
        for key in {*calls, *deliveries}:
            if key not in self._calls and not _is_first(calls[key]):
                self._restore(key, calls[key], deliveries[key])
            self._calls[key] += calls[key]
            self._deliveries[key] += deliveries[key]

    def _add_canary(self, line: Line) -> None:
        """Keep a canary with its distance to the one before, so that a missing canary leaves a gap."""
        number, record = line
        revision = int(record["revision"])
        step = 0 if self._last_revision is None else min(2, max(1, revision - self._last_revision))
        self._last_revision = revision
        late = record["at_ns"] - record["due_ns"] > self._plan.profile.early_tolerance_ns
        self._canaries.append((number, {**record, "step": step, "significant": late or step > 1}))

    def _drop_old_witnesses(self) -> None:
        """Drop old canaries and clock readings, except those that show a starved harness or a clock step."""
        for old in range(len(self._canaries) - WITNESSES - 1, -1, -1):
            # Both ends of a gap are needed.
            if not (self._canaries[old][1]["significant"] or self._canaries[old + 1][1]["significant"]):
                del self._canaries[old]
        for old in range(len(self._clock) - WITNESSES - 1, 0, -1):
            before, this, after = (self._clock[old + offset][1] for offset in (-1, 0, 1))
            if not (_stepped(before, this) or _stepped(this, after)):
                del self._clock[old]

    def _history(self, keys: Collection[str]) -> History:
        """The history of `keys`, closed as of now: a notification past its deadline and not delivered is missed."""
        grace_ns = int(self._plan.profile.as_written["grace_s"] * 1e9)
        closed = Closed(at_ns=self._now_ns - grace_ns, pending=None, workers_alive=True)
        lines: dict[str, Iterable[Line]] = {
            HISTORY: _renumbered_calls(sorted((line for key in keys for line in self._calls[key]), key=_number)),
            DELIVERIES: [
                *_renumbered_canaries(self._canaries),
                *(line for key in keys for line in self._deliveries[key]),
            ],
            FAULTS: self._faults,
            CLOCK: self._clock,
        }
        return assemble(self._plan, lines=lines, closed=closed)

    def _mark_overdue(self, drawn: Numbers, history: History) -> int:
        """Mark required revisions as overdue when 60 % of the lateness limit has passed. Returns their number."""
        marked = 0
        now_s = (self._now_ns - history.started_ns) / 1e9
        patience_s = history.plan.profile.as_written["lateness_limit_s"] * 0.6
        for note in drawn["notes"]:
            for rev in note["revs"]:
                if rev.get("state") == "open" and rev["required"] and now_s - rev["ready"] > patience_s:
                    rev["state"] = "overdue"
                    marked += 1
        drawn["now"] = round(now_s, 3)
        return marked

    def _note_changes(self, drawn: Numbers) -> None:
        for note in drawn["notes"]:
            if self._notes.get(note["key"]) != note:
                self._notes[note["key"]] = note
                self._changed_at[note["key"]] = self._checks

    def _remove_settled(self, history: History, results: Results) -> None:
        """Remove notifications that settled more than `SHOWN_S` ago; their counts are kept."""
        by_key: dict[str, list[Operation]] = defaultdict(list)
        for operation in history.operations.values():
            by_key[operation.key].append(operation)
        horizon_ns = self._now_ns - int(SHOWN_S * 1e9)
        settled = []
        for key, lines in self._calls.items():
            operations = by_key[key]
            ops = [operation.op for operation in operations if operation.op in results.obligations]
            newest = max((record["at_ns"] for _, record in [*lines, *self._deliveries[key]]), default=0)
            last = max([newest, *(results.obligations[op].operation.due_ns for op in ops)])
            # A delivery without a call is kept: its call may not have been read yet.
            answered = bool(operations) and all(operation.answered_line for operation in operations)
            if last < horizon_ns and answered and all(results.states[op] in SETTLED for op in ops):
                settled.append(key)
        # Counted together: each judgement processes all canaries and faults, however few its notifications are.
        if settled:
            self._removed_counts += self._count(settled)
        for key in settled:
            self._calls.pop(key), self._deliveries.pop(key)
            self._notes.pop(key, None), self._changed_at.pop(key, None)
            self._removed.append((self._checks, key))

    def _count(self, keys: Collection[str]) -> Counter[str]:
        return Counter(judge_history(self._history(keys)).counts)

    def _restore(self, key: str, calls: list[Line], deliveries: list[Line]) -> None:
        """Read the earlier lines of `key`, which has new lines and was removed, or was never scheduled."""
        before = {
            HISTORY: calls[0][0] if calls else self._tails[HISTORY].lines + 1,
            DELIVERIES: deliveries[0][0] if deliveries else self._tails[DELIVERIES].lines + 1,
        }
        self._calls[key] = [line for line in _lines_of(self._run_dir / HISTORY, key) if line[0] < before[HISTORY]]
        self._deliveries[key] = [
            line for line in _lines_of(self._run_dir / DELIVERIES, key) if line[0] < before[DELIVERIES]
        ]
        if self._calls[key] or self._deliveries[key]:
            self._removed_counts -= self._count([key])


def _key(record: Mapping[str, Any]) -> str:
    return str(record["op"]).rpartition("/")[0]


def _is_first(calls: list[Line]) -> bool:
    """Return True if `calls` begin with the first call on their key."""
    return bool(calls) and calls[0][1]["type"] == "invoke" and calls[0][1]["revision"] == 1


def _lines_of(path: Path, key: str) -> Iterator[Line]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if key.encode() in line and line.endswith(b"\n"):
                record = json.loads(line)
                if _key(record) == key:
                    yield number, record


def _number(line: Line) -> int:
    return line[0]


def _renumbered_calls(lines: Iterable[Line]) -> Iterator[Line]:
    """Number the calls of each client without gaps; a gap would count as a lost line."""
    next_i = Counter[Any]()
    for number, record in lines:
        client = record["client"]
        yield number, {**record, "i": next_i[client]}
        next_i[client] += 1


def _renumbered_canaries(canaries: Iterable[Line]) -> Iterator[Line]:
    """Number the canaries so that dropped ones leave no gap, and missing ones do."""
    revision = 0
    for index, (number, record) in enumerate(canaries):
        revision += record["step"] if index else 0
        yield number, {**record, "revision": revision, "op": f"canary/{revision}"}


def _stepped(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Return True if the wall clock stepped between two readings, by the checker's limit."""
    step = (after["wall_ns"] - after["mono_ns"]) - (before["wall_ns"] - before["mono_ns"])
    return bool(abs(step) > STEP_NS)
