"""BullMQ."""

from __future__ import annotations

from duetime.lint.libraries.declaration import Library, Rule, Run, Setting

LIBRARY = Library(
    name="bullmq",
    title="BullMQ",
    version="6.7.0",
    fixed="a job that a dead worker had executed, and not completed, is executed again; one that stalls more often "
    "than maxStalledCount, once, has failed",
    settings=(
        Setting(name="attempts", default=1, of="a job"),
        Setting(name="lockDuration", default=30_000, unit="ms"),
        Setting(name="stalledInterval", default=30_000, unit="ms"),
    ),
    rules=(
        Rule(
            setting="attempts",
            when=lambda case: case["attempts"] <= 1,
            effect="loses",
            consequence="a job has one attempt. It has failed at its first error, and is not executed again.",
            fix="attempts and backoff, among the options of queue.add() or the defaultJobOptions of the queue, which "
            "outlast the usual outage of what the job calls.",
            run=Run(design="contender:bullmq", scenario="poison"),
            see="https://docs.bullmq.io/guide/retrying-failing-jobs",
        ),
        Rule(
            setting="stalledInterval",
            when=lambda case: (case["lockDuration"] + 2 * case["stalledInterval"]) / 1000 > case.limits.lateness,
            effect="delays",
            consequence="the lock of a killed worker's job lives for up to {lockDuration:g} ms. After that, one look "
            "notes the job and the next one queues it, and they are {stalledInterval:g} ms apart.",
            fix="stalledInterval and lockDuration of the worker, together below the tolerable lateness. A worker whose "
            "event loop is blocked for longer than the lock counts as dead, and its job is executed again, as a "
            "duplicate.",
            run=Run(design="contender:bullmq", scenario="crash_before", slow=10),
            see="dist/cjs/commands/moveStalledJobsToWait-9.lua:44",
        ),
    ),
)
