"""A request to the linter and its answer as JSON, because the linter runs in the interpreter of the project."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from celery.app.defaults import DEFAULTS

from duetime.errors import BadUsage
from duetime.lint import inside
from duetime.lint.applications import load
from duetime.lint.commands import parse
from duetime.lint.durations import duration
from duetime.lint.finding import Finding
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


def run(request: Mapping[str, Any]) -> list[Finding]:
    """Answer `request` in a process of its interpreter ``request["python"]``.

    Raises:
        BadUsage: the interpreter does not start or lacks Celery, or an argument is wrong.
    """
    with tempfile.TemporaryDirectory(prefix="duetime-lint-") as directory:
        reply = Path(directory, "reply.json")
        command = [request["python"], inside.__file__, json.dumps(request), str(reply)]
        try:
            # What the application prints goes to the standard error (2), because the output of the linter may be JSON.
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=2, check=False)
        except OSError as error:
            raise BadUsage(
                f"--python {request['python']!r} does not start ({error.strerror}); write the path of an interpreter, "
                "for instance venv/bin/python"
            ) from error
        if not reply.exists():
            raise BadUsage(
                f"{', '.join(request['targets'])}: the process that imported it ended with status {done.returncode} "
                "before the linter could answer; its import must not end the process"
            )
        answered = json.loads(reply.read_text(encoding="utf-8"))
    if "error" in answered:
        raise BadUsage(answered["error"])
    return [Finding(**{**finding, "see": tuple(finding["see"])}) for finding in answered["findings"]]


def answer(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the findings about ``request["targets"]``; imports them into this process."""
    for setting, value in OLDER_CELERY.items():
        DEFAULTS.setdefault(setting, value)
    options = {
        option: duration(f"--{option.replace('_', '-')}", request[option])
        for option in ("horizon", "lateness", "grace", "consumer_timeout")
        if request[option] is not None
    }
    loaded = load(request["targets"], [parse(line) for line in request["workers"]])
    return [finding.to_json() for finding in lint(loaded, servers=request["servers"], **options)]
