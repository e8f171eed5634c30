"""Huey."""

from __future__ import annotations

from typing import Any

from duetime.lint.libraries.bodies import uses
from duetime.lint.libraries.declaration import Found, Library, Rule, Run, Setting

DOCS = "https://huey.readthedocs.io/en/latest"


def read(huey: Any) -> Found | None:
    """Return the settings of a Huey and of its tasks, without periodic ones, which come again anyway.

    Nothing is known about a task that raises RetryTask itself.
    """
    registry, signal = getattr(huey, "_registry", None), getattr(huey, "_signal", None)
    if registry is None or signal is None:
        return None
    tasks, periodic = vars(registry)["_registry"], {type(task) for task in registry.periodic_tasks}
    return Found(
        values={"handles_interrupted": bool(signal.receivers.get("interrupted"))},
        tasks={
            str(name): {} if uses(task.execute, "RetryTask") else {"retries": task.default_retries}
            for name, task in tasks.items()
            if task not in periodic
        },
    )


LIBRARY = Library(
    name="huey",
    title="Huey",
    version="3.5.4",
    reads="a Huey, for instance huey:shop.tasks:huey",
    read=read,
    commands=("huey_consumer",),
    flags="CSfnqv",
    example="huey_consumer shop.tasks.huey -w 4 -g TERM -t 20",
    fixed="a task that a consumer had taken is lost if the consumer is killed",
    settings=(
        Setting(name="retries", default=0, of="a task"),
        Setting(name="graceful_signal", default="INT", kind="text", options=("-g", "--graceful-signal")),
        Setting(
            name="shutdown_timeout",
            default=None,
            optional=True,
            unit="s",
            options=("-t", "--shutdown-timeout"),
        ),
        Setting(name="handles_interrupted", default=False, kind="flag", of="a handler of SIGNAL_INTERRUPTED"),
    ),
    rules=(
        Rule(
            setting="retries",
            when=lambda case: case["retries"] < 1,
            effect="loses",
            consequence="a task without retries has failed at its first error, and is not executed again.",
            fix="retries=… and retry_delay=…, which outlast the usual outage of what the task calls.",
            run=Run(design="contender:huey", scenario="poison"),
            see=f"{DOCS}/guide.html#retrying-tasks-that-fail",
        ),
        Rule(
            setting="graceful_signal",
            when=lambda case: case["graceful_signal"] == "INT" and not case["handles_interrupted"],
            effect="loses",
            consequence="unless a consumer is stopped with SIGINT: SIGTERM, which systemd, Docker and Kubernetes send, "
            "interrupts its running tasks, and they are lost.",
            fix="-g TERM, so that SIGTERM waits for running tasks, -t below the time until SIGKILL, and a handler of "
            "SIGNAL_INTERRUPTED that enqueues the task again.",
            run=Run(design="contender:huey", scenario="deploy_too_slow"),
            see=f"{DOCS}/deployment.html",
        ),
        Rule(
            setting="shutdown_timeout",
            when=lambda case: (
                case["graceful_signal"] == "TERM" and _outlasts(case["shutdown_timeout"], case.limits.grace)
            ),
            effect="loses",
            consequence="a consumer that stops waits for its running tasks for longer than the time from SIGTERM to "
            "SIGKILL, and what it executes when it is killed is lost.",
            fix="-t below that time, and a handler of SIGNAL_INTERRUPTED that enqueues the task again.",
            run=Run(design="contender:huey", scenario="deploy_too_slow"),
            see=f"{DOCS}/consumer.html#consumer-shutdown",
        ),
    ),
)


def _outlasts(timeout_s: float | None, grace_s: float | None) -> bool:
    return grace_s is not None and (timeout_s is None or timeout_s >= grace_s)
