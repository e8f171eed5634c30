"""Judges a run while it goes on: the checker itself, over the notifications that are still of interest.

What is over and has been shown for a while is only counted, so that a demo of an hour needs no more memory than one
of a minute. A delivery that comes after that brings its notification back from the files.
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
"""For so long after its end a notification stays in the picture."""
WITNESSES = 600
"""Canaries and readings of the clocks that are kept: more than the time of what is of interest."""
SETTLED = ("delivered", "missed", "none_due", "indeterminate")
REMEMBERED = 20_000
"""Of so many keys that left the picture it is known when; a page that slept for longer loads everything anew."""


class LiveChecker:
    """One live run, judged again at every look."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._tails = {name: Tail(run_dir / name) for name in (HISTORY, DELIVERIES, FAULTS, CLOCK)}
        self._calls: dict[str, list[Line]] = defaultdict(list)
        self._deliveries: dict[str, list[Line]] = defaultdict(list)
        self._canaries: list[Line] = []
        self._last_revision: int | None = None
        self._faults: list[Line] = []
        self._clock: list[Line] = []
        self._gone = Counter[str]()
        self._seen: dict[str, Numbers] = {}
        self._changed: dict[str, int] = {}
        self._left: deque[tuple[int, str]] = deque(maxlen=REMEMBERED)
        self._looks = 0
        self._now_ns = 0
        self.counts: dict[str, int] = {}
        self._plan = RecordedPlan.from_json(json.loads((run_dir / "plan.json").read_bytes()))

    def look(self) -> Numbers:
        """Read what is new, judge, and return the lane; ``since`` then tells what changed."""
        self._looks += 1
        # Before anything is read: what is recorded by then is among what is read.
        self._now_ns = time.monotonic_ns()
        self._read()
        history = self._history(self._calls.keys())
        results = judge_history(history)
        drawn = lane(history, results)
        overdue = self._mark_overdue(drawn, history)
        self.counts = {**(Counter(results.counts) + self._gone), "overdue": overdue}
        self._note_changes(drawn)
        self._let_go(history, results)
        return {**drawn, "counts": self.counts}

    def since(self, look: int) -> tuple[bool, list[Numbers], list[str]]:
        """What changed after `look`: whether it is everything that there is, the notifications, the keys that left."""
        forgotten = len(self._left) == REMEMBERED and self._left[0][0] > look
        anew = look == 0 or forgotten
        changed = [note for key, note in self._seen.items() if anew or self._changed[key] > look]
        return anew, changed, [key for at, key in self._left if at > look and key not in self._seen]

    def _read(self) -> None:
        calls: dict[str, list[Line]] = defaultdict(list)
        deliveries: dict[str, list[Line]] = defaultdict(list)
        for line in self._tails[HISTORY].read():
            calls[_key(line[1])].append(line)
        # After the calls: what is delivered was asked for before.
        for line in self._tails[DELIVERIES].read():
            if line[1]["worker"] == "canary":
                self._witness(line)
            else:
                deliveries[_key(line[1])].append(line)
        self._faults += self._tails[FAULTS].read()
        self._clock += self._tails[CLOCK].read()
        self._dismiss()
        for key in {*calls, *deliveries}:
            if key not in self._calls and not _begins(calls[key]):
                self._bring_back(key, calls[key], deliveries[key])
            self._calls[key] += calls[key]
            self._deliveries[key] += deliveries[key]

    def _witness(self, line: Line) -> None:
        """Keep a canary, counted from the first that is kept; one that never came leaves its gap."""
        number, record = line
        revision = int(record["revision"])
        step = 0 if self._last_revision is None else min(2, max(1, revision - self._last_revision))
        self._last_revision = revision
        late = record["at_ns"] - record["due_ns"] > self._plan.profile.early_tolerance_ns
        self._canaries.append((number, {**record, "step": step, "telling": late or step > 1}))

    def _dismiss(self) -> None:
        """Let the oldest witnesses go, but for those who saw the harness starved or a clock step."""
        for old in range(len(self._canaries) - WITNESSES - 1, -1, -1):
            # Of a gap both ends tell.
            if not (self._canaries[old][1]["telling"] or self._canaries[old + 1][1]["telling"]):
                del self._canaries[old]
        for old in range(len(self._clock) - WITNESSES - 1, 0, -1):
            before, this, after = (self._clock[old + there][1] for there in (-1, 0, 1))
            if not (_stepped(before, this) or _stepped(this, after)):
                del self._clock[old]

    def _history(self, keys: Collection[str]) -> History:
        """The history of `keys`, closed a moment ago: what has not come by then is missed."""
        grace_ns = int(self._plan.profile.as_written["grace_s"] * 1e9)
        closed = Closed(at_ns=self._now_ns - grace_ns, pending=None, workers_alive=True)
        lines: dict[str, Iterable[Line]] = {
            HISTORY: _renumbered(sorted((line for key in keys for line in self._calls[key]), key=_number)),
            DELIVERIES: [*_recounted(self._canaries), *(line for key in keys for line in self._deliveries[key])],
            FAULTS: self._faults,
            CLOCK: self._clock,
        }
        return assemble(self._plan, lines=lines, closed=closed)

    def _mark_overdue(self, drawn: Numbers, history: History) -> int:
        """Mark what is owed for longer than health would need and not yet proven missed; how many there are."""
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
            if self._seen.get(note["key"]) != note:
                self._seen[note["key"]] = note
                self._changed[note["key"]] = self._looks

    def _let_go(self, history: History, results: Results) -> None:
        """Forget what is over and was shown for long enough; its counts stay."""
        by_key: dict[str, list[Operation]] = defaultdict(list)
        for operation in history.operations.values():
            by_key[operation.key].append(operation)
        horizon_ns = self._now_ns - int(SHOWN_S * 1e9)
        over = []
        for key, lines in self._calls.items():
            operations = by_key[key]
            ops = [operation.op for operation in operations if operation.op in results.obligations]
            newest = max((record["at_ns"] for _, record in [*lines, *self._deliveries[key]]), default=0)
            last = max([newest, *(results.obligations[op].operation.due_ns for op in ops)])
            # What was delivered and never asked for stays: its call may only not have been read yet.
            answered = bool(operations) and all(operation.answered_line for operation in operations)
            if last < horizon_ns and answered and all(results.states[op] in SETTLED for op in ops):
                over.append(key)
        # All at once: each judgement goes through all canaries and faults, however few its notifications are.
        if over:
            self._gone += self._counted(over)
        for key in over:
            self._calls.pop(key), self._deliveries.pop(key)
            self._seen.pop(key, None), self._changed.pop(key, None)
            self._left.append((self._looks, key))

    def _counted(self, keys: Collection[str]) -> Counter[str]:
        return Counter(judge_history(self._history(keys)).counts)

    def _bring_back(self, key: str, calls: list[Line], deliveries: list[Line]) -> None:
        """Something happened to a notification that was let go, or that nobody ever scheduled: find its beginnings."""
        before = {
            HISTORY: calls[0][0] if calls else self._tails[HISTORY].lines + 1,
            DELIVERIES: deliveries[0][0] if deliveries else self._tails[DELIVERIES].lines + 1,
        }
        self._calls[key] = [line for line in _matching(self._run_dir / HISTORY, key) if line[0] < before[HISTORY]]
        self._deliveries[key] = [
            line for line in _matching(self._run_dir / DELIVERIES, key) if line[0] < before[DELIVERIES]
        ]
        if self._calls[key] or self._deliveries[key]:
            self._gone -= self._counted([key])


def _key(record: Mapping[str, Any]) -> str:
    return str(record["op"]).rpartition("/")[0]


def _begins(calls: list[Line]) -> bool:
    """Whether these are the first that was ever asked about a key."""
    return bool(calls) and calls[0][1]["type"] == "invoke" and calls[0][1]["revision"] == 1


def _matching(path: Path, key: str) -> Iterator[Line]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if key.encode() in line and line.endswith(b"\n"):
                record = json.loads(line)
                if _key(record) == key:
                    yield number, record


def _number(line: Line) -> int:
    return line[0]


def _renumbered(lines: Iterable[Line]) -> Iterator[Line]:
    """As if each client had made these calls only; a gap would read as a lost line."""
    next_i = Counter[Any]()
    for number, record in lines:
        client = record["client"]
        yield number, {**record, "i": next_i[client]}
        next_i[client] += 1


def _recounted(canaries: Iterable[Line]) -> Iterator[Line]:
    """Numbered so that those that were let go are not missed, and those that never came are."""
    revision = 0
    for nth, (number, record) in enumerate(canaries):
        revision += record["step"] if nth else 0
        yield number, {**record, "revision": revision, "op": f"canary/{revision}"}


def _stepped(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether the wall clock stepped between two readings, as the checker sees it."""
    step = (after["wall_ns"] - after["mono_ns"]) - (before["wall_ns"] - before["mono_ns"])
    return bool(abs(step) > STEP_NS)
