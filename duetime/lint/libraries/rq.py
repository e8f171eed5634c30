"""RQ."""

from __future__ import annotations

from typing import Any

from duetime.lint.libraries.declaration import Found, Library, Rule, Run, Setting

NO_SCHEDULER = Run(design="contender:rq", scenario="downtime")
"""The lock of the killed scheduler outlives it, so after the restart no due job is queued until the run ends."""


def read(worker: Any) -> Found | None:
    """Return the settings of a Worker. Whether it has a scheduler is an argument of its work()."""
    names = ("maintenance_interval", "worker_ttl")
    return Found(values={name: getattr(worker, name) for name in names}) if hasattr(worker, names[0]) else None


LIBRARY = Library(
    name="rq",
    title="RQ",
    version="3.0.0",
    reads="a Worker, for instance rq:shop.worker:worker",
    read=read,
    commands=("rq",),
    flags="bdqsv",
    example="rq worker --with-scheduler --maintenance-interval 30",
    fixed="due times are cut to whole seconds, so a job may come up to a second early; the job of a killed worker "
    "counts as abandoned after 60 s or more, and is executed again only if it has retries left; a worker executes one "
    "job at a time",
    settings=(
        # Every worker of a pool has a scheduler (rq/worker_pool.py:287).
        Setting(
            name="with_scheduler",
            default=False,
            kind="flag",
            options=("-s", "--with-scheduler", "worker-pool"),
            subcommands=("worker", "worker-pool"),
            one_suffices=True,
        ),
        # A pool has no such options, and its workers have the defaults.
        Setting(
            name="maintenance_interval",
            default=600,
            unit="s",
            options=("--maintenance-interval",),
            subcommands=("worker", "worker-pool"),
        ),
        Setting(
            name="worker_ttl",
            default=420,
            unit="s",
            options=("--worker-ttl",),
            subcommands=("worker", "worker-pool"),
        ),
        Setting(name="retry", default=0, of="enqueue_at(), as Retry(max=…)"),
    ),
    rules=(
        Rule(
            setting="with_scheduler",
            when=lambda case: not case["with_scheduler"],
            effect="delays",
            consequence="a worker without a scheduler queues no due job. If no worker has one, jobs of enqueue_at() "
            "and enqueue_in(), and retries with an interval, are not executed.",
            fix="--with-scheduler for at least two workers, or work(with_scheduler=True).",
            run=NO_SCHEDULER,
            see="rq/worker/base.py:647",
        ),
        Rule(
            setting="maintenance_interval",
            when=lambda case: case["maintenance_interval"] > case.limits.lateness,
            effect="delays",
            consequence="if the worker that has the scheduler is killed, no due job is queued until another one takes "
            "it over, which it tries in its maintenance, every {maintenance_interval:g} s.",
            fix="maintenance_interval=5. The lock of a killed scheduler still lives for 61 s.",
            run=NO_SCHEDULER,
            see="rq/worker/base.py:1073",
        ),
        Rule(
            setting="worker_ttl",
            when=lambda case: case["worker_ttl"] - 15 > case.limits.lateness,
            effect="delays",
            consequence="a worker without jobs waits for one for worker_ttl - 15 s before it looks whether its "
            "maintenance is due. So long it does not take over the scheduler of a killed worker.",
            fix="worker_ttl=16 waits for a second.",
            run=NO_SCHEDULER,
            see="rq/worker/base.py:470",
        ),
        Rule(
            setting="retry",
            when=lambda case: case["retry"] < 1,
            effect="loses",
            consequence="a job without retries has failed at its first error, and so has a job whose worker was "
            "killed. It is kept among the failed jobs, and is not executed again.",
            fix="retry=Retry(max=…, interval=…), which outlasts the usual outage of what the job calls.",
            run=Run(design="contender:rq", scenario="poison"),
            see="https://python-rq.org/docs/exceptions/",
        ),
    ),
)
