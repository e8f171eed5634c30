"""How many beats send each periodic task, and what the linter says about the locks of schedulers."""

from __future__ import annotations

import pytest
from celery import Celery
from celery.beat import Scheduler

from duetime.lint.finding import Finding
from tests.lint.apps import GOOD_COMMAND, findings, good_app

REDBEAT = "-S redbeat.RedBeatScheduler"
DATABASE = "-S django_celery_beat.schedulers:DatabaseScheduler"
TWICE = ["celery beat"]


def senders(app: Celery, *commands: str, servers: int = 2) -> list[str]:
    """Return the setting of each warning that several beats send the same tasks."""
    found = findings(app, *commands, servers=servers)
    return [f.setting for f in found if f.level == "warning" and f.scenario == "more_servers"]


def of_beat(*commands: str, **options: object) -> list[Finding]:
    return [f for f in findings(good_app(**options), *commands) if f.setting in {"celery beat", "beat_scheduler"}]


def test_each_command_has_its_own_number_of_hosts() -> None:
    assert senders(good_app(), GOOD_COMMAND, "celery -A shop beat", servers=3) == []
    assert senders(good_app(), GOOD_COMMAND, "2x celery -A shop beat", servers=1) == TWICE
    assert senders(good_app(), f"1x {GOOD_COMMAND} -B", servers=3) == []
    assert senders(good_app(), f"{GOOD_COMMAND} -B", servers=3) == ["-B"]
    assert senders(good_app(), f"1x {GOOD_COMMAND} -B", "celery -A shop beat") == ["-B"]


def test_a_single_beat_without_a_number_is_counted_once_and_says_so() -> None:
    [finding] = of_beat("celery -A shop beat")

    assert (finding.level, finding.consequence[:12]) == ("info", "counted once")
    assert of_beat("1x celery -A shop beat") == []


@pytest.mark.parametrize("name", ["redbeat.RedBeatScheduler", "redbeat.schedulers:RedBeatScheduler"])
def test_beats_with_the_lock_of_redbeat_send_as_one(name: str) -> None:
    assert senders(good_app(), f"3x celery -A shop beat -S {name}") == []
    assert senders(good_app(), f"{GOOD_COMMAND} --beat --scheduler={name}") == []
    assert senders(good_app(beat_scheduler=name), "3x celery -A shop beat") == []


def test_the_lock_of_redbeat_does_not_stop_a_beat_with_another_scheduler() -> None:
    assert senders(good_app(), f"3x celery -A shop beat {REDBEAT}", "celery -A shop beat") == TWICE


@pytest.mark.parametrize("name", ["django_celery_beat.schedulers:DatabaseScheduler", "django"])
def test_two_beats_with_the_schedule_in_a_database_send_twice(name: str) -> None:
    assert senders(good_app(beat_schedule={}), f"2x celery -A shop beat --scheduler {name}") == TWICE
    assert senders(good_app(beat_schedule={}, beat_scheduler=name), "2x celery -A shop beat") == TWICE
    assert senders(good_app(beat_schedule={}), f"1x celery -A shop beat -S {name}") == []


def test_periodic_tasks_outside_of_the_settings_are_not_judged() -> None:
    [finding] = of_beat(f"1x celery -A shop beat {DATABASE}")

    assert finding.level == "not judged"
    assert finding.consequence.startswith("not judged: periodic tasks that exist only in Django's database")


def test_a_scheduler_that_is_not_known_is_not_judged() -> None:
    [finding] = of_beat("2x celery -A shop beat -S shop.beat:LeaderScheduler")

    assert finding.level == "not judged"
    assert "whether the scheduler shop.beat:LeaderScheduler takes a lock" in finding.consequence
    assert of_beat("1x celery -A shop beat -S shop.beat:LeaderScheduler") == []


def test_a_scheduler_derived_from_another_is_not_judged() -> None:
    derived = "tests.lint.test_beats:DerivedFromCelery"

    [finding] = of_beat(f"2x celery -A shop beat -S {derived}")

    assert finding.level == "not judged"


class DerivedFromCelery(Scheduler):
    """It may take a lock."""
