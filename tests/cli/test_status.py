"""`duetime status` reads the state of a design without disturbing its workers; and the Prometheus metrics."""

from __future__ import annotations

import json
import socket
import threading
import urllib.request
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session

from duetime import registry
from duetime.app.tables import User
from duetime.app.use_cases import Application
from duetime.cli.status import status_command
from duetime.clock import system_clock
from duetime.errors import BadUsage, CannotBeListed
from duetime.interface import Notification, Pending
from duetime.settings import Settings
from duetime.shell_command import shell_command
from push_readmodel.connection import connect
from push_readmodel.drain import Drain
from push_readmodel.metrics import metered
from push_readmodel.scheduler import ReadModelScheduler
from push_readmodel.schema import metadata
from tests.designs.read_model import RecordingGateway, give_up

PAST = datetime(2020, 1, 1, tzinfo=UTC)
FAR = datetime(2100, 1, 1, tzinfo=UTC)


def notification(key: str, due_at: datetime, recipient: str = "a@b.example") -> Notification:
    return Notification(key=key, revision=1, kind="test", recipient=recipient, due_at=due_at)


def schedule(engine: Engine, *notifications: Notification) -> None:
    metadata.create_all(engine)
    with Session(engine) as session:
        ReadModelScheduler().schedule_many(notifications, session=session)
        session.commit()


def status(settings: Settings, design: str, *arguments: str) -> str:
    """Return the output of `duetime status`."""
    environment = replace(settings, design=design).environment()
    done = CliRunner().invoke(status_command, [design, *arguments], env=environment, catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def test_the_read_model_knows_every_figure(settings: Settings, engine: Engine) -> None:
    schedule(
        engine, notification("refused", system_clock() - timedelta(seconds=90), recipient="x"), notification("far", FAR)
    )
    with closing(Drain(connect(engine), RecordingGateway(refuse="x"))) as drain:
        drain.drain_all()
    schedule(engine, notification("due", system_clock() - timedelta(seconds=30)))

    figures = json.loads(status(settings, "push_readmodel", "--json"))

    assert (figures["pending"], figures["failed"], figures["claimed"]) == (3, 1, 0)
    assert 90 <= figures["late_s"] < 120
    assert datetime.fromisoformat(figures["oldest_due_at"]) < system_clock() - timedelta(seconds=90)
    assert figures["bytes_of_table"] > 0 and figures["bytes_of_indexes"] > 0
    assert figures["note"] == "refused is retried after ConnectionError: mailbox unavailable"


def test_a_row_that_a_worker_holds_is_claimed_and_stays_with_that_worker(settings: Settings, engine: Engine) -> None:
    schedule(engine, notification("a", PAST), notification("far", FAR))
    delivering, proceed = threading.Event(), threading.Event()

    class Slow(RecordingGateway):
        def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
            delivering.set()
            proceed.wait(10)
            super().deliver(notification, attempt=attempt)

    slow = Slow()
    with closing(Drain(connect(engine), slow)) as drain:
        thread = threading.Thread(target=drain.drain_all)
        thread.start()
        assert delivering.wait(10)
        during = status(settings, "push_readmodel")
        proceed.set()
        thread.join()

    assert "claimed  1\n" in during and "pending  2\n" in during
    assert slow.ops == ["a/1"]
    assert "late     0.000 s" in status(settings, "push_readmodel")


def test_the_poller_knows_future_reminders_and_not_which_were_delivered(settings: Settings, engine: Engine) -> None:
    design = registry.load("pull_worker")
    with Session(engine) as session:
        session.add(User(id=1, name="user", address="1@example.org"))
        session.commit()
        application = Application(design.scheduler(settings), reminder_lead=settings.reminder_lead)
        for number, starts_at in enumerate((PAST, FAR), start=1):
            application.create_event(session, event_id=number, title="", starts_at=starts_at, user_ids=[1])

    printed = status(settings, "pull_worker")

    assert printed.startswith(
        "pending  1\noldest   2099-12-31 23:59:50+00:00\nlate     -\nclaimed  -\nretrying -\ngiven up -\n"
    )
    assert "no row says whether those that were due have been sent" in printed


def test_the_queue_knows_the_number_of_messages(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    with Session(engine) as session:
        registry.load("oban_style_queue").scheduler(settings).schedule(notification("a", FAR), session=session)
        session.commit()

    printed = status(settings, "oban_style_queue")

    assert printed.startswith("pending  1\noldest   -\nlate     -\n")
    assert "1 wait in the broker's list and 0 in workers' memories" in printed


def test_a_variant_without_figures_reports_the_number_of_pending_notifications(
    settings: Settings, engine: Engine
) -> None:
    registry.load("oban_style_queue:staged").install(engine)

    assert status(settings, "oban_style_queue:staged").startswith("pending  0\n")


def test_a_design_that_is_not_installed_is_bad_usage(settings: Settings, engine: Engine) -> None:
    with pytest.raises(BadUsage, match=r"pending_notifications.* does not exist; was it installed \(\S*duetime"):
        status(settings, "push_readmodel")


def test_prometheus_metrics_count_deliveries_and_describe_the_table(settings: Settings, engine: Engine) -> None:
    schedule(
        engine,
        notification("a", system_clock() - timedelta(seconds=2)),
        notification("x", PAST, recipient="x"),
        notification("b", FAR),
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    gateway = metered(RecordingGateway(refuse="x"), port, settings, create_engine(settings.database_url))
    with closing(Drain(connect(engine), gateway)) as drain:
        drain.drain_all()

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()

    assert 'duetime_deliveries_total{kind="test",outcome="delivered"} 1.0' in lines
    assert 'duetime_deliveries_total{kind="test",outcome="failed"} 1.0' in lines
    assert 'duetime_lateness_seconds_bucket{kind="test",le="1.0"} 0.0' in lines
    assert 'duetime_lateness_seconds_bucket{kind="test",le="5.0"} 1.0' in lines
    assert "duetime_pending 2.0" in lines
    assert "duetime_failed 1.0" in lines
    assert "duetime_given_up 0.0" in lines


def test_rows_that_wait_for_a_retry_and_rows_that_were_given_up_are_two_figures(
    settings: Settings, engine: Engine
) -> None:
    schedule(engine, notification("refused", PAST, recipient="x"))
    with closing(Drain(connect(engine), RecordingGateway(refuse="x"))) as drain:
        drain.drain_all()
    for key in ("a", "b", "replaced"):
        give_up(engine, key)
    schedule(engine, replace(notification("replaced", FAR), revision=2))

    printed = status(settings, "push_readmodel")
    figures = json.loads(status(settings, "push_readmodel", "--json"))

    assert "pending  2\n" in printed and "retrying 1\ngiven up 2\n" in printed
    assert (figures["failed"], figures["given_up"]) == (1, 2)
    assert (
        f"; nothing delivers what was given up: see {shell_command('failed', 'list', 'push_readmodel')}"
        in figures["note"]
    )


def test_a_store_that_cannot_be_listed_has_a_note_instead_of_a_figure(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pending(_settings: Settings, _engine: Engine) -> Sequence[Pending]:
        raise CannotBeListed("a queue shows no messages")

    unlisted = replace(registry.load("reference"), pending=pending)
    monkeypatch.setattr(registry, "load", lambda _name: unlisted)

    printed = status(settings, "reference")

    assert "pending  -\n" in printed and "a queue shows no messages" in printed
