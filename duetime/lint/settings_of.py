"""The settings of an application that a run takes over; read in the interpreter of its project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from duetime.errors import BadUsage
from duetime.lint.applications import load
from duetime.lint.case import registered
from duetime.lint.commands import parse
from duetime.lint.transport import transport

TAKEN = {
    *("task_acks_late", "task_acks_on_failure_or_timeout", "task_reject_on_worker_lost", "task_retry_on_worker_lost"),
    *("task_time_limit", "task_soft_time_limit", "task_publish_retry", "task_publish_retry_policy"),
    *("task_default_rate_limit", "worker_prefetch_multiplier", "worker_disable_prefetch", "worker_concurrency"),
    *("worker_pool", "worker_max_tasks_per_child", "worker_max_memory_per_child", "worker_eta_task_limit"),
    *("worker_cancel_long_running_tasks_on_connection_loss", "worker_soft_shutdown_timeout"),
    *("worker_enable_soft_shutdown_on_idle", "worker_proc_alive_timeout", "worker_enable_remote_control"),
    *("broker_heartbeat", "broker_pool_limit", "broker_connection_timeout", "broker_connection_retry"),
    *("broker_connection_retry_on_startup", "broker_connection_max_retries", "broker_channel_error_retry"),
    *("enable_utc", "timezone"),
}
"""What decides when a message is delivered, and again. The others name their servers, their queues or their code."""
TAKEN_OPTIONS = {
    *("visibility_timeout", "unacked_restore_interval", "unacked_restore_throttle", "unacked_restore_limit"),
    *("unacked_mutex_expire", "socket_timeout", "socket_connect_timeout", "socket_keepalive", "retry_on_timeout"),
    *("health_check_interval", "max_connections"),
}
"""Of broker_transport_options. The others change the broker's keys, which the checker reads, or name a server."""
TAKEN_FROM_COMMAND = {
    "pool": "-P",
    "concurrency": "-c",
    "prefetch_multiplier": "--prefetch-multiplier",
    "max_tasks_per_child": "--max-tasks-per-child",
    "max_memory_per_child": "--max-memory-per-child",
    "time_limit": "--time-limit",
    "soft_time_limit": "--soft-time-limit",
}
OF_A_TASK = {
    "acks_late": "task_acks_late",
    "acks_on_failure_or_timeout": "task_acks_on_failure_or_timeout",
    "reject_on_worker_lost": "task_reject_on_worker_lost",
    "rate_limit": "task_default_rate_limit",
    "time_limit": "task_time_limit",
    "soft_time_limit": "task_soft_time_limit",
}
"""An option of a task, and the setting that it replaces. Retries are code of the task, and are left out."""


def settings_of(name: str, *, worker: str | None, task: str | None) -> dict[str, Any]:
    """Return the settings of the application `name` to run with, and the names of what is left out.

    worker: the command line that starts its worker. task: the name of the task whose own options count.

    Raises:
        BadUsage: it cannot be loaded, it has no such task, or its broker is not Redis: a run on Valkey would show
            nothing about it.
    """
    commands = [parse(worker)] if worker else []
    if commands and not commands[0].works:
        raise BadUsage(f"--worker {worker!r} starts no worker; write the command `celery -A … worker …`")
    [target] = load([name], commands)
    kind = transport(target.app)
    if kind.driver != "redis":
        raise BadUsage(
            f"{name!r}: its broker is {kind.name}, and a run uses Valkey, which redelivers by other rules; "
            f"`duetime lint {name}` judges the settings without a run"
        )
    conf, tasks = target.app.conf, registered(target)
    changed = set(conf.table(with_defaults=False, censored=False)) - {"deprecated_settings"}
    settings = {key: conf[key] for key in sorted(TAKEN & changed) if _is_plain(conf[key])}
    options = {key: value for key, value in kind.options.items() if key in TAKEN_OPTIONS and _is_plain(value)}
    if options:
        settings["broker_transport_options"] = options
    settings |= _options_of(task, tasks, conf) if task else {}
    given = {key: value for key, value in (commands[0].options if commands else {}).items() if value}
    return {
        "settings": settings,
        "arguments": [_argument(key, value) for key, value in given.items() if key in TAKEN_FROM_COMMAND],
        "left_out": [
            *sorted(changed - set(settings)),
            *(f"broker_transport_options[{key!r}]" for key in sorted(set(kind.options) - set(options))),
            *(f"--{key.replace('_', '-')}" for key in given if key not in TAKEN_FROM_COMMAND),
        ],
        "tasks": [] if task else _with_own_options(tasks, conf),
    }


def _argument(key: str, value: object) -> str:
    flag = TAKEN_FROM_COMMAND[key]
    return f"{flag}={value}" if flag.startswith("--") else f"{flag}{value}"


def _options_of(name: str, tasks: Sequence[Any], conf: Any) -> dict[str, Any]:
    found = next((task for task in tasks if task.name == name), None)
    if found is None:
        known = ", ".join(task.name for task in tasks) or "none"
        raise BadUsage(f"--task {name!r}: the application has no such task; it has {known}")
    return {OF_A_TASK[key]: getattr(found, key) for key in _own_options(found, conf)}


def _own_options(task: Any, conf: Any) -> list[str]:
    """Return the options of `task` that differ from the settings."""
    return [
        option
        for option, setting in OF_A_TASK.items()
        if (getattr(task, option, None) or None) != (conf[setting] or None) and _is_plain(getattr(task, option, None))
    ]


def _with_own_options(tasks: Sequence[Any], conf: Any) -> list[str]:
    own = ((task.name, _own_options(task, conf)) for task in tasks)
    return [f"{name} ({', '.join(options)})" for name, options in own if options]


def _is_plain(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(each) for key, each in value.items())
    return value is None or isinstance(value, str | int | float | bool)
