"""PgQueuer."""

from __future__ import annotations

from typing import Any

from duetime.lint.libraries.bodies import uses
from duetime.lint.libraries.declaration import Found, Library, Rule, Run, Setting

DEFAULT_EXECUTOR = "EntrypointExecutor"


def read(pgqueuer: Any) -> Found | None:
    """Return the settings of the entrypoints of a PgQueuer; those of its worker are options of ``pgq run``."""
    registry = getattr(getattr(pgqueuer, "qm", None), "entrypoint_registry", None)
    if registry is None:
        return None
    return Found(tasks={str(name): _entrypoint(executor) for name, executor in registry.items()})


def _entrypoint(executor: Any) -> dict[str, Any]:
    """Return what becomes of an error; nothing if the function asks for retries itself."""
    if uses(executor.parameters.func, "RetryRequested"):
        return {}
    return {"on_failure": executor.parameters.on_failure, "executor": type(executor).__name__}


LIBRARY = Library(
    name="pgqueuer",
    title="PgQueuer",
    version="1.6.0",
    reads="a PgQueuer (a factory is not called, because it connects)",
    read=read,
    commands=("pgq", "pgqueuer"),
    example="pgq run shop.consumer:main --heartbeat-timeout 10 --dequeue-timeout 5",
    fixed="a job that a dead worker had executed, and not finished, is executed again",
    settings=(
        Setting(
            name="heartbeat_timeout", default=30.0, unit="s", options=("--heartbeat-timeout",), subcommands=("run",)
        ),
        Setting(name="dequeue_timeout", default=30.0, unit="s", options=("--dequeue-timeout",), subcommands=("run",)),
        Setting(name="on_failure", default="delete", kind="text", of="an entrypoint"),
        Setting(name="executor", default=DEFAULT_EXECUTOR, kind="text", of="an entrypoint, its executor_factory"),
    ),
    rules=(
        Rule(
            setting="heartbeat_timeout",
            when=lambda case: case["heartbeat_timeout"] + case["dequeue_timeout"] > case.limits.lateness,
            effect="delays",
            consequence="the jobs of a killed worker are taken up when their heartbeat is {heartbeat_timeout:g} s old, "
            "by a worker that looks again after at most {dequeue_timeout:g} s.",
            fix="--heartbeat-timeout and --dequeue-timeout, together below the tolerable lateness. A worker that "
            "is paused for longer than the first counts as dead, and its jobs are executed again, as duplicates.",
            run=Run(design="contender:pgqueuer", scenario="crash_before", slow=7),
            see="pgqueuer/adapters/persistence/qb.py:431",
        ),
        Rule(
            setting="on_failure",
            when=lambda case: case["on_failure"] == "delete" and case["executor"] == DEFAULT_EXECUTOR,
            effect="loses",
            consequence="a job that raises an error is deleted, and not executed again. Only the log of jobs, which "
            "has no payload, names it.",
            fix="executor_factory=… with a DatabaseRetryEntrypointExecutor, and on_failure='hold', which keeps what "
            "has failed for good.",
            run=Run(design="contender:pgqueuer", scenario="poison"),
            see="pgqueuer/core/qm.py:524",
        ),
    ),
)
