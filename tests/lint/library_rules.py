"""Values for the tests of the rules about libraries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from duetime.lint.finding import Finding
from duetime.lint.libraries.catalogue import LIBRARIES
from duetime.lint.libraries.declaration import Found, Limits
from duetime.lint.libraries.judge import judge

AS_THE_COMMAND = Limits(lateness=60, punctual_to=1, horizon=30 * 86_400)
"""What `duetime lint` takes without options."""
STRICT = Limits(lateness=20, punctual_to=1, horizon=30 * 86_400, grace=10)
PATIENT = Limits(lateness=86_400, punctual_to=86_400, horizon=0)

ALSO_WRONG: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("dramatiq", "abort_ttl"): {"abortable": True},
    ("huey", "shutdown_timeout"): {"graceful_signal": "TERM"},
    ("saq", "sweep"): {"retries": 3},
    ("saq", "poll_interval"): {"store": "postgres"},
}
"""What the defaults need to be wrong, by library and setting, for rules about which the defaults alone are silent."""

TUNED: Mapping[str, Mapping[str, Any]] = {
    "arq": {"job_timeout": 5, "job_completion_wait": 5, "raises_retry": True},
    "bullmq": {"attempts": 25, "lockDuration": 3000, "stalledInterval": 1000},
    "dramatiq": {
        "maintenance_chance": 1_000_000,
        "heartbeat_timeout": 3_000,
        "abortable": True,
        "abort_ttl": 40 * 86_400_000,
    },
    "huey": {"retries": 20, "graceful_signal": "TERM", "shutdown_timeout": 20, "handles_interrupted": True},
    "oban": {"stager_interval": 0.2, "lifeline_interval": 1.0, "rescue_after": 3.0},
    "pgqueuer": {
        "heartbeat_timeout": 3,
        "dequeue_timeout": 1,
        "on_failure": "hold",
        "executor": "DatabaseRetryEntrypointExecutor",
    },
    "procrastinate": {"fetch_job_polling_interval": 0.5, "get_stalled_jobs": True, "retry": True},
    "rq": {"with_scheduler": True, "maintenance_interval": 5, "worker_ttl": 16, "retry": 20},
    "saq": {
        "retries": 20,
        "timeout": 5,
        "sweep": 10,
        "schedule": 1,
        "poll_interval": 0.2,
        "store": "postgres",
        "shutdown_grace_period_s": 2,
    },
    "taskiq": {"update_interval": 1, "idle_timeout": 3_000, "retry_on_error": True, "pre_send": True},
    "sidekiq": {"poll_interval_average": 0.5, "average_scheduled_poll_interval": 5, "timeout": 25},
}
"""The settings of the tuned contenders (contenders/NAME)."""


def findings(name: str, values: Mapping[str, Any], limits: Limits = AS_THE_COMMAND, **tasks: Any) -> list[Finding]:
    """Return the warnings and infos about `values`, as read from an application of the library `name`."""
    found = judge(LIBRARIES[name], Found(values=values, tasks=tasks), {}, limits, target=name)
    return [finding for finding in found if finding.level != "not judged"]


def wrong_settings(name: str, values: Mapping[str, Any], limits: Limits = AS_THE_COMMAND) -> set[str]:
    return {finding.setting for finding in findings(name, values, limits)}
