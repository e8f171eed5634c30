"""SAQ, on Redis or PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from duetime.lint.libraries.declaration import Case, Found, Library, Rule, Run, Setting, Test, is_a

DOCS = "https://saq-py.readthedocs.io/en/latest"


def read(settings: Any) -> Found | None:
    """Return the settings of a worker. Those of each job are arguments of enqueue()."""
    if not isinstance(settings, Mapping) or "queue" not in settings:
        return None
    timers = settings.get("timers") or {}
    stores = {"PostgresQueue": "postgres", "RedisQueue": "redis"}
    store = next((name for kind, name in stores.items() if is_a(settings["queue"], kind)), None)
    of_worker = ("poll_interval", "shutdown_grace_period_s")
    return Found(
        values={
            **{name: settings.get(name, LIBRARY.by_name[name].default) for name in of_worker},
            "sweep": timers.get("sweep", LIBRARY.by_name["sweep"].default),
            "schedule": timers.get("schedule", LIBRARY.by_name["schedule"].default),
            "store": store,
        }
    )


def _looks_every(case: Case) -> float:
    """Return how often a worker on PostgreSQL looks for due jobs, in seconds."""
    return float(case["poll_interval"] or case["schedule"])


LIBRARY = Library(
    name="saq",
    title="SAQ",
    version="0.26.4",
    reads="the settings of a worker, for instance saq:shop.jobs.settings",
    read=read,
    fixed="a stuck job that is swept is executed again, also if it had been executed before; a sweep takes 5 s for "
    "each stuck job, and loses the one at which its worker is killed",
    settings=(
        Setting(name="retries", default=1, of="a job, the number of its attempts"),
        Setting(name="timeout", default=10, unit="s", of="a job, or its heartbeat if that is shorter"),
        Setting(name="sweep", default=60, unit="s"),
        Setting(name="schedule", default=1, unit="s"),
        Setting(name="poll_interval", default=0.0, unit="s"),
        Setting(name="store", default="redis", kind="text"),
        Setting(name="shutdown_grace_period_s", default=None, optional=True, unit="s"),
    ),
    rules=(
        Rule(
            setting="retries",
            when=lambda case: case["retries"] <= 1,
            effect="loses",
            consequence="a job has one attempt. It has failed at its first error, and is aborted if its worker is "
            "killed; neither is executed again.",
            fix="enqueue(…, retries=…, retry_delay=…), which outlasts the usual outage of what the job calls.",
            run=Run(design="contender:saq", scenario="poison"),
            see="saq/job.py:123",
        ),
        Rule(
            setting="sweep",
            # A worker that dies in its sweep leaves a lock, which lasts as long as the interval.
            when=lambda case: case["retries"] > 1 and case["timeout"] + 2 * case["sweep"] > case.limits.lateness,
            effect="delays",
            consequence="the job of a killed worker counts as stuck {timeout:g} s after its begin, and stuck jobs are "
            "looked for every {sweep:g} s, or after twice that time if a worker died in its sweep.",
            fix="timers={'sweep': 10}, and a shorter timeout of the job, but above its longest execution.",
            run=Run(design="contender:saq:tuned", scenario="crash", slow=9),
            see=f"{DOCS}/autoapi/saq/worker/index.html",
        ),
        Rule(
            setting="poll_interval",
            when=lambda case: case["store"] == "postgres" and _looks_every(case) >= case.limits.punctual_to,
            effect="delays",
            consequence="on PostgreSQL a job is due when its second is over, and a worker then looks every second "
            "(timers: schedule), or every poll_interval if that is set.",
            fix="poll_interval=0.2. Whole seconds remain.",
            run=Run(design="contender:saq_postgres", scenario="move_and_cancel"),
            see="saq/queue/postgres.py:653",
        ),
        Rule(
            setting="shutdown_grace_period_s",
            when=lambda case: not case["shutdown_grace_period_s"],
            effect="repeats",
            consequence="a worker that gets SIGTERM cancels its running jobs at once, also what is delivered already, "
            "and queues them again.",
            fix="shutdown_grace_period_s=…, as long as the longest job, and below the time from SIGTERM to SIGKILL.",
            run=Test(file="test_contender_saq.py", keyword="stopped"),
            see="saq/worker.py:224",
        ),
    ),
)
