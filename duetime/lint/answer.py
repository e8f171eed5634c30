"""Answers a request to the linter, in the interpreter of the project."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery.app.defaults import DEFAULTS

from duetime.lint.applications import load
from duetime.lint.commands import parse, set_environment
from duetime.lint.durations import duration
from duetime.lint.rules import lint

OLDER_CELERY: Mapping[str, Any] = {
    "broker_channel_error_retry": False,
    "broker_connection_retry_on_startup": None,
    "broker_native_delayed_delivery_queue_type": "quorum",
    "task_default_queue_type": "classic",
    "task_retry_on_worker_lost": None,
    "worker_detect_quorum_queues": False,
    "worker_enable_soft_shutdown_on_idle": False,
    "worker_eta_task_limit": None,
    "worker_soft_shutdown_timeout": 0.0,
}
"""What a Celery before 5.7 does that lacks these settings."""


def answer(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the findings about ``request["targets"]``; imports them into this process."""
    for setting, value in OLDER_CELERY.items():
        DEFAULTS.setdefault(setting, value)
    options = {
        option: duration(f"--{option.replace('_', '-')}", request[option])
        for option in ("horizon", "lateness", "grace", "consumer_timeout")
        if request[option] is not None
    }
    commands = [parse(line) for line in request["workers"]]
    set_environment(commands)
    loaded = load(request["targets"], commands)
    return [finding.to_json() for finding in lint(loaded, servers=request["servers"], **options)]
