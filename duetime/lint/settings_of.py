"""The settings of an application that a run takes over; read in the interpreter of its project."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from math import isfinite
from typing import Any

from celery.app.defaults import DEFAULTS

from duetime.errors import BadUsage
from duetime.lint.applications import load
from duetime.lint.case import registered
from duetime.lint.commands import REMAP, parse, set_environment
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
    *("pool", "concurrency", "autoscale", "prefetch_multiplier", "disable_prefetch", "optimization"),
    *("max_tasks_per_child", "max_memory_per_child", "pool_start_method", "time_limit", "soft_time_limit"),
    *("without_gossip", "without_mingle", "without_heartbeat", "heartbeat_interval"),
}
"""Options of ``celery worker``. Written in full, because Celery patches for gevent only after ``--pool`` or ``-P``."""
POOLS = {"prefork", "eventlet", "gevent", "solo", "processes", "threads"}
STATE = "--statedb={state}/revokes"
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
    set_environment(commands)
    [target] = load([name], commands)
    kind = transport(target.app)
    if kind.driver != "redis":
        raise BadUsage(
            f"{name!r}: its broker is {kind.name}, and a run uses Valkey, which redelivers by other rules; "
            f"`duetime lint {name}` judges the settings without a run"
        )
    conf, tasks = target.app.conf, registered(target)
    given = {key: value for key, value in (commands[0].options if commands else {}).items() if value}
    # Not by the names in the table of settings: those of Django have a prefix, and old ones are other names.
    changed = {key: conf[key] for key, default in DEFAULTS.items() if conf[key] != default}
    wanted = {key: changed[key] for key in sorted(TAKEN & set(changed))}
    options = {key: value for key, value in kind.options.items() if key in TAKEN_OPTIONS}
    settings = {key: value for key, value in wanted.items() if _can_copy(key, value)}
    if copied := {key: value for key, value in options.items() if _is_plain(value)}:
        settings["broker_transport_options"] = copied
    settings |= _options_of(task, tasks, conf) if task else {}
    foreign_pool = given.pop("pool") if given.get("pool", "solo") not in POOLS else None
    arguments = [_argument(key, value) for key, value in given.items() if key in TAKEN_FROM_COMMAND]
    if "worker_concurrency" in settings and not {"concurrency", "autoscale"} & set(given):
        arguments.append(_argument("concurrency", settings["worker_concurrency"]))
    if given.get("statedb") or changed.get("worker_state_db"):
        arguments.append(STATE)
    remapped = next((command.environment.get(REMAP) for command in commands), None) or os.environ.get(REMAP)
    own = {"broker_transport_options", "worker_state_db"}
    return {
        "settings": settings,
        "arguments": arguments,
        "environment": {REMAP: remapped} if remapped else {},
        "versions": {package: version(package) for package in ("celery", "kombu")},
        "not_copied": [
            *(key for key in wanted if key not in settings),
            *(f"broker_transport_options[{key!r}]" for key in sorted(options) if key not in copied),
            *([f"--pool={foreign_pool}"] if foreign_pool else []),
        ],
        "left_out": [
            *sorted(set(changed) - TAKEN - own),
            *(f"broker_transport_options[{key!r}]" for key in sorted(set(kind.options) - TAKEN_OPTIONS)),
            *(f"--{key.replace('_', '-')}" for key in given if key not in {*TAKEN_FROM_COMMAND, "statedb"}),
            *(f"retries of {each.name}" for each in tasks if task in (None, each.name) and _retries(each)),
        ],
        "tasks": [] if task else _with_own_options(tasks, conf),
    }


def _argument(key: str, value: object) -> str:
    flag = f"--{key.replace('_', '-')}"
    return flag if value is True else f"{flag}={value}"


def _retries(task: Any) -> bool:
    return bool(getattr(task, "autoretry_for", ()))


def _options_of(name: str, tasks: Sequence[Any], conf: Any) -> dict[str, Any]:
    found = next((task for task in tasks if task.name == name), None)
    if found is None:
        known = ", ".join(task.name for task in tasks) or "none"
        raise BadUsage(f"--task {name!r}: the application has no such task; it has {known}")
    return {OF_A_TASK[key]: getattr(found, key) for key in _own_options(found, conf)}


def _own_options(task: Any, conf: Any) -> list[str]:
    """Return the options of `task` that differ from the settings. None is no option: an older Celery sets none."""
    return [
        option
        for option, setting in OF_A_TASK.items()
        if (value := getattr(task, option, None)) is not None
        and (value or None) != (conf[setting] or None)
        and _is_plain(value)
    ]


def _with_own_options(tasks: Sequence[Any], conf: Any) -> list[str]:
    own = ((task.name, _own_options(task, conf)) for task in tasks)
    return [f"{name} ({', '.join(options)})" for name, options in own if options]


def _can_copy(key: str, value: object) -> bool:
    """Return True unless it is an object, or a pool of the project's own, which a run would import."""
    return _is_plain(value) and (key != "worker_pool" or value in POOLS)


def _is_plain(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(each) for key, each in value.items())
    if isinstance(value, float):
        return isfinite(value)
    return value is None or isinstance(value, str | int | bool)
