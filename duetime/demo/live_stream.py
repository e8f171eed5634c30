"""The state that the page receives twice a second."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from typing import Any

from duetime.demo.live_checker import LiveChecker
from duetime.demo.session import DemoSession
from duetime.demo.tour import Tour
from duetime.report.lane import Numbers

CHECK_EVERY_S = 0.5
RECENT = 30
"""Violations and faults sent to a page; the files hold all."""
UPCOMING = 20


class LiveStream:
    """Checks every run twice a second, once for all pages.

    checks: how many were made so far; the number of the newest state.
    """

    def __init__(self, session: DemoSession, tour: Tour) -> None:
        self.checks = 0
        self._lanes: dict[str, Numbers] = {}
        self._error = ""
        self._session = session
        self._tour = tour
        self._checkers = {name: LiveChecker(run.files.path) for name, run in session.runs.items()}
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live stream", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ending.set()
        self._thread.join()

    def messages(self, since: int) -> Mapping[str, Any]:
        """Everything that changed after check number `since`; everything if it is 0."""
        with self._lock:
            lanes = []
            for name, drawn in self._lanes.items():
                everything, notes, removed = self._checkers[name].since(since)
                changes = {
                    "everything": everything,
                    "notes": notes,
                    "removed": removed,
                    "worker_states": self._session.worker_states(name),
                }
                lanes.append({**_without_notes(drawn, {note["key"] for note in notes}), **changes})
            return {"check": self.checks, "now": self._session.now_s(), "lanes": lanes, **self._state()}

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
            "error": session.error or self._error,
        }

    def _run(self) -> None:
        while not self._ending.wait(CHECK_EVERY_S):
            try:
                with self._lock:
                    for name, checker in self._checkers.items():
                        self._lanes[name] = checker.check()
                    self.checks += 1
                    self._tour.update(list(self._lanes.values()))
            except Exception as error:  # noqa: BLE001 - shown on the page; the runs go on
                self._error = f"the live picture could not be made: {type(error).__name__}: {error}"


def _without_notes(drawn: Numbers, changed_keys: Collection[str]) -> Mapping[str, Any]:
    """A lane with recent faults, recent violations, and the violations of changed notifications."""
    older, recent = drawn["violations"][:-RECENT], drawn["violations"][-RECENT:]
    changed = [violation for violation in older if violation["op"].rpartition("/")[0] in changed_keys]
    fields = {name: value for name, value in drawn.items() if name != "notes"}
    return {**fields, "faults": drawn["faults"][-RECENT:], "violations": [*changed, *recent]}
