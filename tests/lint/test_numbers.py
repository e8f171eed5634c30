"""Settings that are not the number that Celery computes with."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from duetime.harness.processes.services import Endpoints
from tests.lint.apps import TIMEOUT, do_nothing, findings, good_app, warnings

A_SECOND = timedelta(seconds=1)


def number_findings(app: Celery) -> dict[str, str]:
    """Return the settings that are not a number, with the consequence."""
    return {f.setting: f.consequence for f in findings(app) if f.consequence.startswith("of type ")}


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("worker_prefetch_multiplier", None),
        ("worker_prefetch_multiplier", "one"),
        ("worker_prefetch_multiplier", -1),
        ("worker_eta_task_limit", "10"),
        ("task_time_limit", timedelta(minutes=5)),
        ("task_time_limit", "soon"),
        ("task_time_limit", -1),
        ("task_time_limit", True),
        ("task_soft_time_limit", timedelta(minutes=5)),
        ("worker_soft_shutdown_timeout", "10"),
        ("worker_soft_shutdown_timeout", None),
        ("worker_soft_shutdown_timeout", A_SECOND),
        ("worker_max_tasks_per_child", "100"),
        ("worker_max_tasks_per_child", 0),
        ("worker_max_memory_per_child", "200MB"),
        ("broker_connection_timeout", "4"),
        ("broker_pool_limit", "10"),
        ("broker_pool_limit", -1),
        ("beat_max_loop_interval", "5"),
    ],
)
def test_a_setting_that_celery_cannot_compute_with(setting: str, value: object) -> None:
    assert list(number_findings(good_app(**{setting: value}))) == [setting]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("worker_prefetch_multiplier", "1"),
        ("worker_prefetch_multiplier", 0),
        ("worker_concurrency", "4"),
        ("worker_concurrency", "auto"),
        ("task_time_limit", "300"),
        ("task_time_limit", 0),
        ("task_time_limit", None),
        ("task_soft_time_limit", "270"),
        ("worker_soft_shutdown_timeout", 10),
        ("worker_max_tasks_per_child", 100),
        ("broker_connection_timeout", None),
        ("broker_pool_limit", None),
        ("broker_pool_limit", 0),
        ("broker_heartbeat", "10"),
        ("result_expires", A_SECOND),
        ("result_expires", "60"),
    ],
)
def test_a_setting_that_celery_converts_or_accepts(setting: str, value: object) -> None:
    assert number_findings(good_app(**{setting: value})) == {}


@pytest.mark.parametrize("value", ["3600", "soon", timedelta(hours=1), None, True, -5, 0])
def test_a_visibility_timeout_that_kombu_cannot_compute_with(value: object) -> None:
    app = good_app(broker_transport_options={"visibility_timeout": value})

    assert list(number_findings(app)) == [TIMEOUT]
    assert (TIMEOUT, None) in warnings(app)


@pytest.mark.parametrize(
    ("option", "value", "found"),
    [
        ("unacked_restore_interval", "10", True),
        ("unacked_restore_interval", 10, False),
        ("unacked_restore_throttle", "10", True),
        ("unacked_restore_throttle", None, False),
        ("health_check_interval", "25", True),
        ("socket_timeout", A_SECOND, True),
        ("socket_timeout", 5.0, False),
        ("polling_interval", "1", False),
        ("global_keyprefix", "shop", False),
    ],
)
def test_the_other_options_of_redis(option: str, value: object, *, found: bool) -> None:
    app = good_app(broker_transport_options={"visibility_timeout": 7200, option: value})

    assert list(number_findings(app)) == ([f"broker_transport_options[{option!r}]"] if found else [])


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"visibility_timeout": "3600"}, False),
        ({"visibility_timeout": ""}, False),
        ({"visibility_timeout": timedelta(hours=1)}, True),
        ({"wait_time_seconds": "20"}, True),
        ({"polling_interval": "1"}, True),
        ({"polling_interval": 0.5, "wait_time_seconds": 20}, False),
    ],
)
def test_the_options_of_sqs(options: dict[str, Any], *, found: bool) -> None:
    # kombu reads an empty string as not set, and converts the visibility timeout of SQS, but not that of Redis.
    assert bool(number_findings(good_app(broker_url="sqs://", broker_transport_options=options))) is found


@pytest.mark.parametrize(
    ("option", "value", "found"),
    [
        ("time_limit", A_SECOND, True),
        ("time_limit", "60", False),
        ("soft_time_limit", A_SECOND, True),
        ("max_retries", "5", True),
        ("max_retries", None, False),
        ("max_retries", 5, False),
        ("default_retry_delay", "60", True),
        ("default_retry_delay", A_SECOND, True),
        ("default_retry_delay", 60, False),
        ("retry_backoff", "2", False),
        ("retry_backoff_max", "600", False),
        ("retry_kwargs", {"max_retries": 5, "countdown": 60}, False),
        ("rate_limit", "10/m", False),
        ("rate_limit", "10", False),
        ("rate_limit", 10, False),
        ("rate_limit", "10/d", True),
        ("rate_limit", "ten/m", True),
        ("expires", A_SECOND, True),
        ("expires", "60", True),
        ("expires", 60, False),
        ("expires", "2100-01-01T00:00:00+00:00", False),
        ("expires", datetime(2100, 1, 1, tzinfo=UTC), False),
    ],
)
def test_an_option_of_a_task(option: str, value: object, *, found: bool) -> None:
    app = good_app()
    decorate: Any = app.task
    decorate(name="shop.mail", shared=False, autoretry_for=(OSError,), **{option: value})(do_nothing)

    reported = number_findings(app)

    assert list(reported) == ([option] if found else [])
    assert all("shop.mail" in consequence for consequence in reported.values())


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"retry_kwargs": {"max_retries": "5"}}, ["retry_kwargs['max_retries']"]),
        ({"retry_kwargs": {"countdown": "60"}}, ["retry_kwargs['countdown']"]),
        ({"retry_kwargs": {"max_retries": 5}, "max_retries": "5"}, []),
        ({"retry_backoff": True, "default_retry_delay": "60"}, []),
        ({"autoretry_for": (), "max_retries": "5"}, []),
    ],
)
def test_what_an_automatic_retry_uses(options: dict[str, Any], found: list[str]) -> None:
    app = good_app()
    decorate: Any = app.task
    decorate(name="shop.mail", shared=False, **{"autoretry_for": (OSError,), **options})(do_nothing)

    assert list(number_findings(app)) == found


@pytest.mark.parametrize(
    ("entry", "setting"),
    [
        ({"schedule": "60", "options": {"expires": 60}}, "beat_schedule[…]['schedule']"),
        ({"schedule": 60.0, "options": {"expires": "60"}}, "beat_schedule[…]['options']['expires']"),
        ({"schedule": 60.0, "options": {"expires": A_SECOND}}, "beat_schedule[…]['options']['expires']"),
        ({"schedule": A_SECOND, "options": {"expires": 60}}, None),
    ],
)
def test_a_beat_entry(entry: dict[str, Any], setting: str | None) -> None:
    app = good_app(beat_schedule={"sweep": {"task": "shop.charge", **entry}})

    assert list(number_findings(app)) == ([setting] if setting else [])


@pytest.mark.parametrize("expires", [A_SECOND, "60"])
def test_celery_itself_refuses_such_an_expiry(expires: Any) -> None:
    app = good_app(broker_url="memory://")

    with pytest.raises((TypeError, ValueError)):
        app.tasks["shop.charge"].apply_async(expires=expires)


def test_a_worker_itself_exits_when_its_visibility_timeout_is_a_string(endpoints: Endpoints, tmp_path: Path) -> None:
    (tmp_path / "lint_worker.py").write_text(
        f"from celery import Celery\napp = Celery(broker={endpoints.broker_url!r})\n"
        "app.conf.broker_transport_options = {'visibility_timeout': '3600'}\n"
    )

    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "lint_worker", "worker", "-P", "solo", "--without-mingle"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 1
    assert "unsupported operand type(s) for -: 'float' and 'str'" in done.stderr
