"""Procrastinate."""

from __future__ import annotations

from typing import Any

from duetime.lint.libraries.bodies import uses
from duetime.lint.libraries.declaration import Found, Library, Rule, Run, Setting, is_a

DOCS = "https://procrastinate.readthedocs.io/en/stable/howto"


def read(app: Any) -> Found | None:
    """Return the settings of an App. Its worker imports the modules of import_paths, too."""
    if not is_a(app, "App") or not hasattr(app, "periodic_registry"):
        return None
    app.perform_import_paths()
    own = {name: task for name, task in app.tasks.items() if not name.startswith(("builtin:", "procrastinate."))}
    periodic = {task.task.name for task in app.periodic_registry.periodic_tasks.values()}
    known = {setting.name for setting in LIBRARY.settings}
    return Found(
        values={
            **{name: value for name, value in app.worker_defaults.items() if name in known},
            "get_stalled_jobs": any(uses(task.func, "get_stalled_jobs") for task in own.values()),
        },
        tasks={name: {"retry": task.retry_strategy is not None} for name, task in own.items() if name not in periodic},
    )


LIBRARY = Library(
    name="procrastinate",
    title="Procrastinate",
    version="3.10.0",
    reads="an App, for instance procrastinate:shop.tasks:app",
    read=read,
    commands=("procrastinate",),
    flags="Vv",
    example="procrastinate --app=shop.tasks.app worker --fetch-job-polling-interval 1",
    fixed="the job of a killed worker, once it is retried, may have been executed before",
    settings=(
        Setting(
            name="fetch_job_polling_interval",
            default=5.0,
            unit="s",
            options=("-p", "--fetch-job-polling-interval"),
            subcommands=("worker",),
        ),
        Setting(name="get_stalled_jobs", default=False, kind="flag", of="the tasks"),
        Setting(name="retry", default=False, kind="flag", of="a task"),
    ),
    rules=(
        Rule(
            setting="fetch_job_polling_interval",
            when=lambda case: case["fetch_job_polling_interval"] > case.limits.punctual_to,
            effect="delays",
            consequence="a worker is notified when a job is deferred, and not when it becomes due; it looks for due "
            "jobs every {fetch_job_polling_interval:g} s, so a job is up to that much late.",
            fix="fetch_job_polling_interval=0.5, as an argument of run_worker(), in worker_defaults of the App, or as "
            "--fetch-job-polling-interval.",
            run=Run(design="contender:procrastinate", scenario="calm"),
            see="procrastinate/worker.py:697",
        ),
        Rule(
            setting="get_stalled_jobs",
            when=lambda case: not case["get_stalled_jobs"],
            effect="loses",
            consequence="no task calls get_stalled_jobs(). Unless a program of its own does, "
            "the jobs that a killed worker was executing stay in `doing` and are never executed.",
            fix="a periodic task that passes the result of job_manager.get_stalled_jobs() to "
            "job_manager.retry_job(), with a heartbeat timeout shorter than the tolerable lateness.",
            run=Run(design="contender:procrastinate", scenario="crash_before"),
            see=f"{DOCS}/production/retry_stalled_jobs.html",
        ),
        Rule(
            setting="retry",
            when=lambda case: not case["retry"],
            effect="loses",
            consequence="a task without a retry strategy has failed at its first error, and is not executed again.",
            fix="retry=RetryStrategy(max_attempts=…, exponential_wait=…), which outlasts the usual outage of what the "
            "task calls.",
            run=Run(design="contender:procrastinate", scenario="poison"),
            see=f"{DOCS}/advanced/retry.html",
        ),
    ),
)
