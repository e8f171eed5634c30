"""Saving a session: a closed copy of each run, which can be judged and run again."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

from duetime.demo.active_faults import ActionRejected
from duetime.demo.design_run import SETTLED_WITHIN_S, DesignRun
from duetime.demo.session import SCENARIO, DemoSession
from duetime.demo.traffic import PERIOD_S
from duetime.harness.plan.plan import Plan
from duetime.harness.runs.run_directory import RunDirectory

QUIET_WITHIN_S = 10.0


def save_copies(session: DemoSession, out: Path) -> list[Path]:
    """Heal everything, wait until every deadline is over, and keep a closed copy of each run under `out`.

    The session goes on afterwards. Returns the run directories.

    Raises:
        ActionRejected: the session is being saved already, or a fault did not heal.
    """
    with session.saving():
        session.wait_until_faults_settled(within_s=SETTLED_WITHIN_S)
        session.heal_all()
        if unhealed := [fault.planned.fault for fault in session.active_faults]:
            raise ActionRejected(
                f"{', '.join(unhealed)} did not heal, so the runs cannot be judged: {session.error}; try again"
            )
        _wait_until_deadlines_are_over(session)
        plan = session.plan()
        return [_save_copy(session, run, plan, out) for run in session.runs.values()]


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
    give_up_at = time.monotonic() + QUIET_WITHIN_S
    while run.files.seconds_since_last_delivery() < plan.profile.quiet_s and time.monotonic() < give_up_at:
        session.context.stop.sleep(0.1)
    quiet_s, closed_ns = run.files.seconds_since_last_delivery(), time.monotonic_ns()
    path = out / SCENARIO / run.files.path.name
    copy = RunDirectory(replace(run.files.spec, plan=plan, directory=path))
    shutil.copytree(run.files.path, copy.path)
    copy.write_plan(session.started)
    copy.close(
        run.processes.pending(),
        quiet_s=quiet_s,
        workers_alive=run.processes.alive(),
        restarts=list(run.processes.supervisor.restarts),
        unverified=list(run.nemesis.unverified),
        disorderly_exits=run.processes.disorderly_exits(),
        at_ns=closed_ns,
    )
    return copy.path
