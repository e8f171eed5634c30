"""delayed_job behind ``schedule()``: a row of its table in the caller's transaction; the worker is Ruby."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from duetime.contenders import contender
from duetime.errors import BadUsage
from duetime.interface import Design, Guarantees, Notification, Pending, Role, Scheduler
from duetime.settings import Settings

HERE = contender(__file__)
LIBRARIES = ":".join(str(path) for path in HERE.unpacked.glob("usr/lib/*-linux-gnu*"))
ENVIRONMENT = {"DEBIAN_PACKAGES": str(HERE.unpacked), "LD_LIBRARY_PATH": LIBRARIES}
# notification_key and revision are columns of the application: delayed_job cannot find a job by what it does.
CANCEL = text("DELETE FROM delayed_jobs WHERE notification_key = :key AND revision < :revision")
NEWEST = text("SELECT max(revision) FROM delayed_jobs WHERE notification_key = :key AND failed_at IS NULL")
INSERT = text(
    "INSERT INTO delayed_jobs (handler, run_at, created_at, updated_at, notification_key, revision) "
    "VALUES (:handler, :run_at, now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC', :key, :revision)"
)
PENDING = text(
    "SELECT notification_key AS key, revision, attempts, locked_by, failed_at IS NOT NULL AS failed FROM delayed_jobs"
)


class DelayedJob(Scheduler):
    """Writes the row that Delayed::Job.enqueue writes, in the caller's transaction."""

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """Delete the older jobs of the key, and insert one."""
        key, revision = notification.key, notification.revision
        self.cancel(key, revision=revision, session=session)
        if (session.execute(NEWEST, {"key": key}).scalar_one() or 0) >= revision:
            return
        # A JSON string is a YAML string too.
        handler = f"--- !ruby/struct:DeliverJob\nkey: {json.dumps(key, ensure_ascii=False)}\nrevision: {revision}\n"
        run_at = notification.due_at.astimezone(UTC).replace(tzinfo=None)
        session.execute(INSERT, {"handler": handler, "run_at": run_at, "key": key, "revision": revision})

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """Delete the older jobs of the key; one that a worker executes runs to its end, and is not retried."""
        session.execute(CANCEL, {"key": key, "revision": revision})


def pending(back_after_s: float) -> Callable[[Settings, Engine], Sequence[Pending]]:
    def jobs(_settings: Settings, engine: Engine) -> Sequence[Pending]:
        """Return the jobs that are not done; a job that is done is deleted."""
        with engine.connect() as connection:
            found = connection.execute(PENDING).all()
        return [
            Pending(
                f"{job.key}/{job.revision}",
                f"delayed_jobs, {job.attempts} attempts" + (f", locked by {job.locked_by}" if job.locked_by else ""),
                "failed" if job.failed else "held" if job.locked_by else "waiting",
                back_after_s if job.locked_by and not job.failed else None,
            )
            for job in found
        ]

    return jobs


def install(engine: Engine) -> None:
    """Create the table with delayed_job's own definition.

    Raises:
        BadUsage: that failed.
    """
    url = engine.url.render_as_string(hide_password=False)
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **HERE.environment(url, ""), **ENVIRONMENT}
    command = ["ruby", str(HERE.here / "install.rb")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BadUsage(f"delayed_job/install.rb failed: {done.stderr.strip()[-2000:]}")


DEFAULT_BACK_S = 4 * 3600.0 + 5.0
TUNED_BACK_S = 5.0
"""Locked for 4 s, and looked for every 0.5 s."""
design = Design(
    name="contender:delayed_job",
    summary="delayed_job with its defaults: a row in PostgreSQL in the caller's transaction",
    weakness="a worker without work looks again after 5 s; the jobs of a dead worker are locked for 4 hours",
    guarantees=Guarantees(
        delivery="at_least_once",
        transactional=True,
        cancels=True,
        due_by="workers",
        recovers_within_s=DEFAULT_BACK_S,
        punctual_to_s=5.0,
    ),
    roles=[
        Role(
            name="worker",
            argv=("ruby", "{here}/worker.rb"),
            ready="Starting job worker",
            environment=ENVIRONMENT,
        )
    ],
    install=install,
    scheduler=lambda _settings: DelayedJob(),
    pending=pending(DEFAULT_BACK_S),
    uses_broker=False,
    contender=HERE,
)
tuned = replace(
    design,
    name="contender:delayed_job:tuned",
    summary="delayed_job, whose workers look for due jobs every 0.5 s, and for those of dead workers after 4 s",
    weakness="a job that a dead worker had delivered, and not deleted, is delivered again",
    guarantees=replace(design.guarantees, punctual_to_s=0.0, recovers_within_s=TUNED_BACK_S),
    roles=[replace(design.roles[0], argv=("ruby", "{here}/tuned_worker.rb"))],
    pending=pending(TUNED_BACK_S),
)
