"""Each rule reports the setting that it is about, and nothing about an application with a correct setting."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, get_args

import celery
import pytest
from celery import Celery

from duetime.harness.plan import lookup
from duetime.lint.case import Target
from duetime.lint.finding import Scenario
from duetime.lint.rules import lint
from tests.lint.apps import DAY, GOOD_COMMAND, HOUR, TIMEOUT, do_nothing, findings, good_app, warnings


def test_a_good_application_has_no_warnings() -> None:
    assert warnings(good_app()) == []


def test_every_finding_has_a_consequence_and_a_fix() -> None:
    bad = Celery("bad", broker="redis://localhost", set_as_current=False)
    bad.task(name="bad.send", shared=False)(do_nothing)
    bad.conf.beat_schedule = {"send": {"task": "bad.send", "schedule": 1.0}}

    found = findings(bad, "celery -A bad worker -B", horizon=30 * DAY, lateness=HOUR)

    assert {f.scenario for f in found} == {
        *("long_horizon", "crash", "move_and_cancel", "more_servers", "far_flood", "poison", "broker_blip_long", None)
    }
    for finding in found:
        assert finding.consequence.endswith(".")
        assert finding.fix.endswith(".")


def test_a_visibility_timeout_below_the_horizon_duplicates_eta_tasks() -> None:
    app = good_app(broker_transport_options={})

    [finding] = [f for f in findings(app, horizon=3 * HOUR) if f.scenario == "long_horizon"]

    assert (finding.setting, finding.value, finding.is_default) == (TIMEOUT, "3600", True)
    assert "up to 3 copies" in finding.consequence
    assert warnings(app, horizon=timedelta(minutes=59)) == []


def test_a_visibility_timeout_above_the_lateness_delays_tasks_after_a_crash() -> None:
    assert warnings(good_app(), lateness=timedelta(hours=2)) == [(TIMEOUT, "crash")]
    assert warnings(good_app(), lateness=timedelta(hours=2, seconds=100)) == []

    quick = {"visibility_timeout": 7200, "unacked_restore_interval": 1, "unacked_restore_throttle": 1}
    assert warnings(good_app(broker_transport_options=quick), lateness=timedelta(hours=2, seconds=1)) == []


def test_no_visibility_timeout_fits_a_horizon_above_the_lateness() -> None:
    both = [f for f in findings(good_app(), horizon=DAY, lateness=HOUR) if f.setting == TIMEOUT]

    assert [f.scenario for f in both] == ["long_horizon", "crash"]
    assert all("No value fits both" in f.consequence for f in both)


def test_other_transports_have_no_visibility_timeout() -> None:
    app = good_app(broker_url="memory://")

    assert TIMEOUT not in dict(warnings(app, horizon=DAY, lateness=timedelta(seconds=1)))


def test_revokes_expire_before_a_distant_task_is_due() -> None:
    far = {"broker_transport_options": {"visibility_timeout": 20000}}

    assert warnings(good_app(**far), horizon=timedelta(seconds=10801)) == [
        ("CELERY_WORKER_REVOKE_EXPIRES (environment)", "move_and_cancel")
    ]
    assert warnings(good_app(**far), horizon=timedelta(seconds=10800)) == []


def test_a_worker_without_a_state_file_loses_revokes() -> None:
    forgets = [("worker_state_db", "move_and_cancel")]

    assert warnings(good_app(), "celery -A shop worker") == forgets
    assert warnings(good_app(), "celery -A shop worker -S /state") == []
    assert warnings(good_app(worker_state_db="/state"), "celery -A shop worker") == []
    assert warnings(good_app(), "celery -A shop worker", horizon=timedelta(0)) == []
    [finding] = [f for f in findings(good_app(), "celery -A shop worker --without-mingle") if f.level == "warning"]
    assert "when any worker restarts" in finding.consequence


def test_a_beat_in_each_of_several_workers_duplicates_periodic_tasks() -> None:
    beat = f"{GOOD_COMMAND} -Bl INFO"

    assert warnings(good_app(), beat, servers=3) == [("-B", "more_servers")]
    assert warnings(good_app(), beat, servers=1) == []
    assert warnings(good_app(beat_schedule={}), beat) == []


def test_the_lowest_timeout_on_one_redis_database_applies_to_all_applications() -> None:
    def affected(other: Celery) -> list[tuple[str, str]]:
        targets = [Target(name="shop:app", app=good_app()), Target(name="mail:app", app=other)]
        found = lint(targets, horizon=timedelta(0), lateness=DAY)
        return [(f.target, f.consequence[:8]) for f in found if f.scenario == "long_horizon"]

    low = {"visibility_timeout": 60}
    assert affected(good_app(broker_transport_options=low)) == [("shop:app", "mail:app")]
    assert affected(good_app(broker_transport_options=low, broker_url="redis://localhost")) == [
        ("shop:app", "mail:app")
    ]
    assert affected(good_app()) == []
    assert affected(good_app(broker_transport_options=low, broker_url="redis://localhost:6379/1")) == []
    assert affected(good_app(broker_transport_options={**low, "global_keyprefix": "mail"})) == []


def test_an_eta_limit_blocks_due_tasks_and_no_limit_uses_memory() -> None:
    limit = [("worker_eta_task_limit", "far_flood")]

    assert warnings(good_app(worker_eta_task_limit=100)) == limit
    assert warnings(good_app(worker_eta_task_limit=100), horizon=timedelta(0)) == []
    assert [(f.level, f.setting) for f in findings(good_app()) if f.scenario == "far_flood"] == [
        ("info", "worker_eta_task_limit")
    ]


def test_early_acknowledgement_loses_tasks() -> None:
    assert warnings(good_app(task_acks_late=False)) == [("task_acks_late", "crash")]


def test_late_acknowledgement_duplicates_tasks_and_without_rejection_loses_those_of_a_killed_pool_process() -> None:
    lost = [("task_reject_on_worker_lost", "crash")]

    assert warnings(good_app(task_reject_on_worker_lost=None)) == lost
    assert [f.level for f in findings(good_app()) if f.scenario == "crash"] == ["info"]


@pytest.mark.skipif(not hasattr(celery.Task, "retry_on_worker_lost"), reason="new in Celery 5.7")
def test_a_retry_after_a_killed_pool_process_is_as_good_as_a_rejection() -> None:
    assert warnings(good_app(task_reject_on_worker_lost=None, task_retry_on_worker_lost=True)) == []


def test_an_option_of_a_task_or_an_annotation_overrides_the_setting() -> None:
    app = good_app(task_annotations={"shop.charge": {"acks_late": False}})
    [finding] = [f for f in findings(app) if f.level == "warning"]

    assert (finding.setting, finding.value, finding.is_default) == ("task_acks_late", "False", False)
    assert finding.consequence.startswith("shop.charge: ")


def test_a_task_without_retries_is_lost_after_one_refusal() -> None:
    app = good_app()
    app.task(name="shop.mail", shared=False)(do_nothing)

    [finding] = [f for f in findings(app) if f.scenario == "poison"]

    assert finding.consequence.startswith("shop.mail: ")


def test_a_task_that_calls_retry_has_no_warning() -> None:
    app = good_app()

    @app.task(name="shop.mail", shared=False, bind=True)
    def mail(self: Any) -> None:
        raise self.retry()

    assert warnings(app) == []


def test_a_task_is_reported_once_although_celery_shares_it_among_all_applications() -> None:
    shop, mail = good_app(), good_app()
    shop.task(name="shop.mail", shared=False)(do_nothing)
    mail.task(name="shop.mail", shared=False)(do_nothing)
    targets = [Target(name="shop:app", app=shop), Target(name="mail:app", app=mail)]

    found = lint(targets, horizon=timedelta(0), lateness=DAY)

    assert [(f.target, f.scenario) for f in found if "shop.mail" in f.consequence and f.level == "warning"] == [
        ("shop:app", "poison")
    ]


def test_an_application_without_tasks_has_no_warnings() -> None:
    app = Celery("empty", broker="redis://localhost", set_as_current=False)

    found = findings(app, "celery -A empty worker", horizon=30 * DAY, lateness=timedelta(0))

    assert [(f.level, f.setting) for f in found] == [("info", "tasks"), ("not judged", "broker transport")]


def test_messages_of_a_beat_entry_without_expiry_accumulate() -> None:
    entry = {"task": "shop.charge", "schedule": 60.0}
    without_expiry = good_app(beat_schedule={"sweep": entry})

    assert warnings(without_expiry) == [("beat_schedule[…]['options']['expires']", "broker_blip_long")]

    without_expiry.tasks["shop.charge"].expires = 60
    assert warnings(without_expiry) == []


@pytest.mark.parametrize("setting", ["broker_connection_retry", "broker_connection_retry_on_startup"])
def test_a_worker_that_may_not_reconnect_shuts_down(setting: str) -> None:
    assert warnings(good_app(**{setting: False})) == [(setting, "broker_blip_long")]
    assert warnings(good_app(**{setting: True})) == []


def test_one_version_of_celery_exits_without_its_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(celery, "__version__", "5.7.0")

    assert warnings(good_app()) == [("celery.__version__", "broker_blip_long")]
    assert warnings(good_app(broker_url="memory://")) == []


def test_every_scenario_of_a_finding_exists() -> None:
    assert set(get_args(Scenario)) <= set(lookup.names())
