"""The state that the page asks for several times a second."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Collection, Mapping
from math import inf
from typing import Any

from duetime.demo.live_checker import LiveChecker
from duetime.demo.saving import SavedRuns
from duetime.demo.session import DemoSession
from duetime.demo.sleep_watch import SleepWatch
from duetime.demo.tour import Tour
from duetime.report.lane import Numbers

CHECK_EVERY_S = 0.5
RECENT = 30
"""Violations and faults sent to a page; the files hold all."""
UPCOMING = 20
NOTICE_S = 60.0


class LiveStream:
    """Checks every run twice a second, once for all pages, and starts the designs again after the machine has slept."""

    def __init__(self, session: DemoSession, tour: Tour, saved: SavedRuns) -> None:
        self._process = secrets.token_hex(8)
        self._checks = 0
        self._lanes: dict[str, Numbers] = {}
        self._error = ""
        self._notice = ""
        self._notice_until = inf
        self._restarting = False
        self._session = session
        self._tour = tour
        self._saved = saved
        self._checkers: dict[str, LiveChecker] = {}
        self._sleep_watch = SleepWatch(period_s=CHECK_EVERY_S)
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live stream", daemon=True)

    def start(self) -> None:
        self._sleep_watch.start_over()
        self._thread.start()

    def stop(self) -> None:
        self._ending.set()
        self._thread.join()

    def changes(self, run: str, since: int) -> Mapping[str, Any] | None:
        """Everything that changed after check number `since` of `run`; None if nothing did.

        `run` names this process and the start of its designs. A page that knows another one gets everything.
        """
        with self._lock:
            since = since if run == self._run_name else 0
            if since == self._checks and not self._restarting and not self._error:
                return None
            head = {"process": self._process, "run": self._run_name, "check": self._checks, "notice": self._notice}
            if self._restarting or not self._lanes:
                return {**head, "error": self._error, "lanes": None}
            lanes = [self._lane_since(name, drawn, since) for name, drawn in self._lanes.items()]
            return {**head, "now": self._session.now_s(), "lanes": lanes, **self._state()}

    @property
    def _run_name(self) -> str:
        return f"{self._process}-{self._session.starts}"

    def _lane_since(self, name: str, drawn: Numbers, since: int) -> Mapping[str, Any]:
        everything, notes, removed = self._checkers[name].since(since)
        recent = _without_notes(drawn, {note["key"] for note in notes})
        return {
            **recent,
            "violations": self._tour.with_fixes(name, recent["violations"]),
            "everything": everything,
            "notes": notes,
            "removed": removed,
            "worker_states": self._session.worker_states(name),
        }

    def _state(self) -> Mapping[str, Any]:
        session = self._session
        return {
            "active_faults": [
                {
                    "fault": active.planned.fault,
                    "kind": active.planned.kind,
                    "target": active.planned.target,
                    "phase": active.phase,
                }
                for active in session.active_faults
            ],
            "per_second": session.traffic.per_second,
            "upcoming": session.upcoming()[:UPCOMING],
            "next_worker": session.next_worker_name(),
            "scene": self._tour.state(),
            "flower": session.dashboard_url,
            "saved": self._saved.all,
            "error": session.error or self._error,
        }

    def _run(self) -> None:
        while not self._ending.wait(CHECK_EVERY_S):
            try:
                if slept_s := self._sleep_watch.slept_s():
                    self._start_again(slept_s)
                if self._session.runs:
                    self._check()
                    self._error = ""
            except Exception as error:  # noqa: BLE001 - shown on the page; the runs go on
                self._error = f"the live picture could not be made: {type(error).__name__}: {error}"

    def _check(self) -> None:
        if not self._checkers:
            self._checkers = {name: LiveChecker(run.files.path) for name, run in self._session.runs.items()}
        with self._lock:
            for name, checker in self._checkers.items():
                self._lanes[name] = checker.check()
            self._checks += 1
            if time.monotonic() > self._notice_until:
                self._notice = ""
            self._tour.update(list(self._lanes.values()))

    def _start_again(self, slept_s: float) -> None:
        """Nothing that the sleep touched is judged: not now, and not in a saved run."""
        what = "This computer slept" if slept_s > 0 else "The clock of this computer was set back"
        period = f"for {abs(slept_s):.0f} s" if slept_s > 0 else f"by {abs(slept_s):.0f} s"
        notice = f"{what} {period}. Nothing of it is judged:"
        with self._lock:
            self._restarting, self._notice = True, f"{notice} the designs are being started again …"
            self._lanes, self._checkers = {}, {}
            self._tour.abandon(f"{what} during this scene. Play it again.")
        try:
            self._session.restart()
        finally:
            with self._lock:
                self._restarting, self._notice = False, f"{notice} the designs were started again, and count from 0."
                self._notice_until = time.monotonic() + NOTICE_S
            # The start takes longer than a period.
            self._sleep_watch.start_over()


def _without_notes(drawn: Numbers, changed_keys: Collection[str]) -> Mapping[str, Any]:
    """A lane with recent faults, recent violations, and the violations of changed notifications."""
    older, recent = drawn["violations"][:-RECENT], drawn["violations"][-RECENT:]
    changed = [violation for violation in older if violation["op"].rpartition("/")[0] in changed_keys]
    fields = {name: value for name, value in drawn.items() if name != "notes"}
    return {**fields, "faults": drawn["faults"][-RECENT:], "violations": [*changed, *recent]}
