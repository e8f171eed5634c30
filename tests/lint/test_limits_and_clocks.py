"""Rules about time limits, shutdown, eager tasks and time zones."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.schedules import crontab
from celery.worker.request import Request

from duetime.lint import clock_rules
from duetime.lint.commands import parse, set_environment
from duetime.lint.finding import Finding
from tests.lint.apps import DAY, GOOD_COMMAND, HOUR, TIMEOUT, findings, good_app, warnings

REMAPPED = f"REMAP_SIGTERM=SIGQUIT {GOOD_COMMAND}"


def late(*commands: str, **changes: Any) -> list[str]:
    """Return the settings of the findings about late tasks that outlast the timeout."""
    found = findings(good_app(**changes), *commands)
    return [f.setting for f in found if "acknowledged late, and allowed to run" in f.consequence]


def test_a_late_task_may_outlast_the_visibility_timeout() -> None:
    assert late(task_time_limit=7201) == [TIMEOUT]
    assert late(task_time_limit=7200) == []
    assert late(task_time_limit=7201, task_acks_late=False) == []
    assert late() == []


def test_the_limit_of_the_task_or_of_the_command_counts() -> None:
    assert late(f"{GOOD_COMMAND} --time-limit 7201") == [TIMEOUT]
    assert late(f"{GOOD_COMMAND} --time-limit=7201", GOOD_COMMAND) == []
    assert late(f"{GOOD_COMMAND} --time-limit 7201", task_annotations={"shop.charge": {"time_limit": 60}}) == []
    assert late(task_annotations={"shop.charge": {"time_limit": 7201}}) == [TIMEOUT]
    assert late(task_time_limit=7201, task_soft_time_limit=3600) == []


@pytest.mark.parametrize(
    ("url", "options", "setting"),
    [
        ("amqp://", {}, "consumer_timeout (RabbitMQ)"),
        ("sqs://", {}, TIMEOUT),
        ("sqs://", {"visibility_timeout": 40000}, None),
        ("sqs://", {"predefined_queues": {"celery": {"url": "https://sqs/celery"}}}, None),
        ("memory://", {}, None),
    ],
)
def test_a_late_task_may_outlast_other_timeouts(url: str, options: dict[str, Any], setting: str | None) -> None:
    found = late(broker_url=url, broker_transport_options=options, task_time_limit=1801)

    assert found == ([setting] if setting else [])


@pytest.mark.parametrize(
    ("pool", "ignored"),
    [
        ("threads", ["time_limit", "soft_time_limit"]),
        ("solo", ["time_limit", "soft_time_limit"]),
        ("eventlet", ["time_limit", "soft_time_limit"]),
        ("gevent", ["soft_time_limit"]),
        ("celery.concurrency.thread:TaskPool", ["time_limit", "soft_time_limit"]),
        ("prefork", []),
        ("shop.pools:TaskPool", []),
    ],
)
def test_a_pool_that_ignores_a_limit(pool: str, ignored: list[str]) -> None:
    for name in ("time_limit", "soft_time_limit"):
        app = good_app(**{f"task_{name}": 60})
        expected = [("--pool", None)] if name in ignored else []
        assert warnings(app, f"{GOOD_COMMAND} -P {pool}") == expected
        assert warnings(good_app(), f"{GOOD_COMMAND} -P {pool}") == []
    app = good_app(task_time_limit=60, worker_pool=pool)
    assert warnings(app) == ([("worker_pool", None)] if "time_limit" in ignored else [])


def soft(*commands: str, seconds: float, grace: timedelta | None, **changes: Any) -> list[Finding]:
    found = findings(good_app(worker_soft_shutdown_timeout=seconds, **changes), *commands or [REMAPPED], grace=grace)
    return [f for f in found if "soft_shutdown" in f.setting + f.consequence]


def test_a_soft_shutdown_must_end_before_the_grace() -> None:
    grace = timedelta(seconds=30)

    [finding] = soft(seconds=30.0, grace=grace)
    assert (finding.level, finding.scenario) == ("warning", "deploy_too_slow")
    assert "whenever a task runs" in finding.consequence
    [finding] = soft(seconds=60.0, grace=grace, worker_enable_soft_shutdown_on_idle=True)
    assert "even if no task runs" in finding.consequence
    assert soft(seconds=25.0, grace=grace) == []
    assert soft(seconds=0.0, grace=timedelta(0)) == []


def test_a_soft_shutdown_leaves_time_for_the_end_of_each_process_of_its_pool() -> None:
    grace = timedelta(seconds=30)

    assert soft(f"{REMAPPED} -c 8", seconds=24.9, grace=grace) == []
    [finding] = soft(f"{REMAPPED} -c 8", seconds=25.0, grace=grace)
    assert "then up to 5s for its pool" in finding.consequence
    assert finding.fix.startswith("less than 25s, or")


def test_without_a_soft_shutdown_a_deploy_may_kill_what_holds_eta_tasks() -> None:
    grace = timedelta(seconds=30)

    [finding] = soft(f"{REMAPPED} -c 2", seconds=0.0, grace=grace)
    assert (finding.level, finding.scenario) == ("warning", "deploy_too_slow")
    assert "less than 28s, with worker_enable_soft_shutdown_on_idle = True and REMAP_SIGTERM" in finding.fix
    assert soft(seconds=0.0, grace=None) == []
    assert soft(seconds=0.0, grace=grace, broker_url="amqp://") == []


def test_a_soft_shutdown_without_a_known_grace_is_not_judged() -> None:
    [finding] = soft(seconds=30.0, grace=None)

    assert finding.level == "not judged"
    assert "pass it as --grace" in finding.consequence


def test_a_soft_shutdown_without_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REMAP_SIGTERM", raising=False)
    grace = timedelta(seconds=30)

    [finding] = soft(GOOD_COMMAND, seconds=5.0, grace=grace)
    assert (finding.level, finding.consequence[:20]) == ("info", "only a cold shutdown")
    [_, finding] = soft(seconds=0, grace=grace, worker_enable_soft_shutdown_on_idle=True)
    assert (finding.level, finding.setting) == ("info", "worker_enable_soft_shutdown_on_idle")
    monkeypatch.setenv("REMAP_SIGTERM", "SIGQUIT")
    assert soft(GOOD_COMMAND, seconds=5.0, grace=grace) == []


def test_each_worker_has_to_remap_its_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REMAP_SIGTERM", raising=False)
    set_environment([parse(REMAPPED)])

    [finding] = soft(REMAPPED, GOOD_COMMAND, seconds=5.0, grace=timedelta(seconds=30))
    assert finding.consequence.startswith("only a cold shutdown")


def test_a_pool_whose_end_takes_the_whole_grace_needs_fewer_processes() -> None:
    [finding] = soft(f"{REMAPPED} -c 80", seconds=1.0, grace=timedelta(seconds=30))

    assert finding.fix.startswith("fewer processes")


def test_an_eager_task_ignores_its_eta() -> None:
    app = good_app(task_always_eager=True, broker_url="memory://")

    assert app.tasks["shop.charge"].apply_async(countdown=3600).state == "SUCCESS"
    assert warnings(app) == [("task_always_eager", None)]
    assert warnings(good_app(task_always_eager=False)) == []


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({}, None),
        ({"timezone": "UTC"}, None),
        ({"timezone": "UTC", "enable_utc": False}, None),
        ({"timezone": "Europe/Berlin"}, "info"),
        ({"enable_utc": False}, "warning"),
        ({"timezone": "Europe/Berlin", "enable_utc": False}, "warning"),
    ],
)
def test_a_naive_eta_is_read_as_utc(changes: dict[str, Any], level: str | None) -> None:
    app = good_app(**changes)

    assert [f.level for f in findings(app) if "if an ETA is naive" in f.consequence] == ([level] if level else [])
    assert [f for f in findings(app, horizon=timedelta(0)) if "if an ETA is naive" in f.consequence] == []
    assert due_at(app, eta=datetime(2030, 7, 1, 9)) == datetime.fromisoformat("2030-07-01T09:00:00+00:00")  # noqa: DTZ001


def due_at(app: Celery, **options: Any) -> datetime:
    """Return the due time of a task as a worker of `app` reads it from the message."""
    sent = app.amqp.as_task_v2("1", "shop.charge", **options)
    message: Any = SimpleNamespace(delivery_info={}, **sent._asdict())
    request = Request(message, app=app, headers=sent.headers, body=sent.body, decoded=True)
    eta = request.eta
    assert isinstance(eta, datetime)
    return eta


def test_a_countdown_across_a_change_of_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    berlin = good_app(timezone="Europe/Berlin")
    before = datetime.fromisoformat("2026-10-24T22:00:00+00:00").astimezone(berlin.timezone)

    off_by = due_at(berlin, countdown=6 * 3600, now=before) - before.astimezone() - timedelta(hours=6)
    assert off_by == timedelta(hours=0 if clock_rules.COUNTS_ELAPSED_SECONDS else 1)

    for counts, expected in ((True, []), (False, [("timezone", None)])):
        monkeypatch.setattr(clock_rules, "COUNTS_ELAPSED_SECONDS", counts)
        assert warnings(berlin) == expected
        assert warnings(good_app()) == []
        assert warnings(berlin, horizon=timedelta(0)) == []


def test_a_crontab_without_a_time_zone_is_in_utc() -> None:
    def found(schedule: object, **changes: Any) -> list[str]:
        entry = {"task": "shop.charge", "schedule": schedule, "options": {"expires": 60}}
        app = good_app(beat_schedule={"daily": entry}, **changes)
        return [f.level for f in findings(app, lateness=DAY, horizon=HOUR) if "a crontab is in UTC" in f.consequence]

    assert found(crontab(hour=9, minute=0)) == ["info"]
    assert found(crontab(hour=9, minute=0), timezone="Europe/Berlin") == []
    assert found(crontab(minute=0)) == []
    assert found(60.0) == []
