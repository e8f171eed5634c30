"""Saving a session: a closed copy of each run, which can be judged and run again, and a report about them."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from duetime.checker import VIOLATIONS
from duetime.demo.active_faults import ActionRejected
from duetime.demo.design_run import SETTLED_WITHIN_S, DesignRun
from duetime.demo.session import SCENARIO, DemoSession
from duetime.demo.sleep_watch import SleepWatch
from duetime.demo.traffic import PERIOD_S
from duetime.harness.plan.plan import Plan
from duetime.harness.runs.cell import stored_cell
from duetime.harness.runs.run_directory import RunDirectory
from duetime.report.page import write_page

QUIET_WITHIN_S = 10.0


class SavedRuns:
    """What was saved in this session. all: for the page, the newest first. out: makes a new directory."""

    def __init__(self, session: DemoSession, out: Callable[[], Path]) -> None:
        self.all: list[Mapping[str, Any]] = []
        self._session = session
        self._out = out
        self._reports: list[Path] = []

    def save(self) -> Mapping[str, Any]:
        """Keep closed copies of the runs, judge them, and write their report.

        Raises:
            ActionRejected: the session cannot be saved now.
        """
        out, copies = save_copies(self._session, self._out)
        cells = [stored_cell(run_dir).to_json() for run_dir in copies]
        self._reports.append(write_page(cells, out / "report.html", descriptions={}))
        url = f"/saved/{len(self._reports)}"
        saved = {"directory": str(out), "report": url, "runs": [_for_page(cell, url) for cell in cells]}
        self.all = [saved, *self.all]
        return saved

    def report(self, number: int) -> Path | None:
        """The report of what was saved as the `number`-th, from 1."""
        return self._reports[number - 1] if 1 <= number <= len(self._reports) else None


def _for_page(cell: Mapping[str, Any], url: str) -> Mapping[str, Any]:
    counts, shown = cell["counts"], {"show": f"{cell['scenario']} seed {cell['seed']}", "design": cell["design"]}
    return {
        **{name: cell[name] for name in ("design", "outcome", "counts", "run_dir")},
        "owed": counts["delivered"] + counts["missed"],
        "violations": {label: counts[label] for label in VIOLATIONS if counts[label]},
        "report": f"{url}#{urlencode(shown)}",
    }


def save_copies(session: DemoSession, make_directory: Callable[[], Path]) -> tuple[Path, list[Path]]:
    """Heal everything, wait until every deadline is over, and keep a closed copy of each run.

    The session goes on afterwards. Returns the directory that was made, and the run directories in it.

    Raises:
        ActionRejected: the session is being saved already, a fault did not heal, or the machine slept meanwhile.
    """
    with session.saving():
        sleep_watch = SleepWatch(period_s=inf)
        session.wait_until_faults_settled(within_s=SETTLED_WITHIN_S)
        session.heal_all()
        if unhealed := [fault.planned.fault for fault in session.active_faults]:
            raise ActionRejected(
                f"{', '.join(unhealed)} did not heal, so the runs cannot be judged: {session.error}; try again"
            )
        _wait_until_deadlines_are_over(session)
        if sleep_watch.slept_s():
            raise ActionRejected("this computer slept while the session was being saved, so nothing was saved")
        plan, out = session.plan(), make_directory()
        with ThreadPoolExecutor(max_workers=len(session.runs)) as pool:
            return out, list(pool.map(lambda run: _save_copy(session, run, plan, out), session.runs.values()))


def _wait_until_deadlines_are_over(session: DemoSession) -> None:
    profile = session.profile
    now_s = session.now_s()
    last_due_s = max([now_s + PERIOD_S, *(due_s for due_s, _ in session.upcoming())])
    last_healed_ns = max(run.nemesis.last_healed_ns for run in session.runs.values())
    recovered_s = 0.0
    if last_healed_ns and session.started:
        recovered_s = (last_healed_ns - session.started.mono_ns) / 1e9 + max(profile.recovery_budget_s.values())
    until_s = max(last_due_s, recovered_s) + profile.lateness_limit_s + profile.grace_s + profile.quiet_s
    session.context.stop.sleep(until_s - session.now_s())


def _save_copy(session: DemoSession, run: DesignRun, plan: Plan, out: Path) -> Path:
    stop = session.context.stop
    give_up_at = time.monotonic() + QUIET_WITHIN_S
    while run.files.seconds_since_last_delivery() < plan.profile.quiet_s and time.monotonic() < give_up_at:
        stop.sleep(0.1)
    quiet_s, workers_alive = run.files.seconds_since_last_delivery(), run.processes.alive()
    stored = run.processes.pending()
    after_stop, cut_short = None, None
    # Only a delivered notification that is still stored may be delivered again. Where there is none, and that is
    # usual, the workers need not be stopped for a second look.
    if _delivered(run.files.deliveries) & {entry.op for entry in stored.pending or ()}:
        cut_short = run.stop_workers()
        stop.sleep(plan.profile.in_flight_allowance_s)
        after_stop = run.processes.pending()
    try:
        path = out / SCENARIO / run.files.path.name
        closed_ns = time.monotonic_ns()
        copy = RunDirectory(replace(run.files.spec, plan=plan, directory=path))
        shutil.copytree(run.files.path, copy.path)
        copy.write_plan(session.started)
        copy.close(
            stored,
            after_stop=after_stop,
            cut_short=cut_short,
            quiet_s=quiet_s,
            workers_alive=workers_alive,
            restarts=list(run.processes.supervisor.restarts),
            unverified=list(run.nemesis.unverified),
            disorderly_exits=run.processes.disorderly_exits(),
            at_ns=closed_ns,
        )
    finally:
        if after_stop:
            run.start_workers(stop)
    return copy.path


def _delivered(deliveries: Path) -> set[str]:
    with deliveries.open(encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines if line.endswith("\n")]
    return {record["op"] for record in records if record["worker"] != "canary"}
