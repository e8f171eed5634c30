"""The queries of docs/audit-queries.md, on the real tables."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime import contenders
from duetime.audit import Report, audit
from duetime.interface import Notification
from push_readmodel.drain import drain
from push_readmodel.drain_settings import DrainSettings
from push_readmodel.failed import FailedNotifications
from push_readmodel.scheduler import ReadModelScheduler
from push_readmodel.schema import metadata
from tests.audit.small import request, violations
from tests.docs.pages import ROOT

NOW = datetime.now(UTC)
SECTIONS = {
    title: re.findall(r"```sql\n(.*?)```", text, flags=re.DOTALL)
    for title, _, text in (
        part.partition("\n") for part in (ROOT / "docs" / "audit-queries.md").read_text().split("\n## ")[1:]
    )
}


def audited(engine: Engine, section: str, **terms: object) -> Report:
    *_, promised, delivered = SECTIONS[section]
    url = engine.url.render_as_string(hide_password=False)
    wide = {"from_ns": 10**18, "to_ns": int((NOW + timedelta(minutes=1)).timestamp() * 1e9)}
    return audit(request(promised, delivered, database=url, terms={**wide, **terms}))


def execute(engine: Engine, *statements: str) -> None:
    with psycopg.connect(
        engine.url.render_as_string(hide_password=False).replace("+psycopg", ""), autocommit=True
    ) as c:
        for statement in statements:
            c.execute(statement.encode())


class Sent:
    """A gateway that logs into a table, and rejects two keys until it is `repaired`."""

    repaired = False

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        if notification.key in ("rejected", "cancelled") and not self.repaired:
            raise ConnectionError
        execute(
            self._engine,
            f"INSERT INTO sent_messages VALUES ('{notification.key}', {notification.revision}, clock_timestamp())",
        )


@pytest.fixture
def read_model(engine: Engine) -> Engine:
    metadata.create_all(engine)
    execute(
        engine,
        SECTIONS["The read model"][0],
        "CREATE TABLE sent_messages (key text, revision int, sent_at timestamptz)",
    )
    return engine


def schedule(engine: Engine, key: str, revision: int, in_s: float) -> None:
    due_at = datetime.now(UTC) + timedelta(seconds=in_s)
    notification = Notification(key=key, revision=revision, kind="k", recipient="r", due_at=due_at)
    with Session(engine) as session:
        ReadModelScheduler().schedule(notification, session=session)
        session.commit()


def test_the_read_model(read_model: Engine) -> None:
    for key, revision, in_s in (
        ("a", 1, -5),
        ("moved", 1, -5),
        ("moved", 2, 900),
        ("cancelled", 1, -5),
        ("late", 1, -500),
    ):
        schedule(read_model, key, revision, in_s)
    with Session(read_model) as session:
        ReadModelScheduler().cancel("cancelled", revision=2, session=session)
        session.commit()
    drain(read_model, Sent(read_model))
    schedule(read_model, "stuck", 1, -5)
    execute(read_model, "INSERT INTO sent_messages VALUES ('a', 1, clock_timestamp() + interval '30 s')")

    report = audited(read_model, "The read model")

    assert violations(report) == {"missed": 1, "duplicate": 1}
    assert [one.key for one in report.examples()["missed"]] == ["stuck"]
    assert [one.key for one in report.examples()["duplicate"]] == ["a"]
    assert (report.tally.owed, report.tally.owed_delivered) == (3, 2)
    assert report.tally.counts["none_due"] == 2


def test_what_the_read_model_delivers_in_time_was_owed(read_model: Engine) -> None:
    schedule(read_model, "a", 1, -1)
    drain(read_model, Sent(read_model))

    report = audited(read_model, "The read model")

    assert (report.outcome, report.tally.owed_delivered) == ("pass", 1)


def test_what_the_read_model_gives_up_is_missed_and_may_be_delivered_later(read_model: Engine) -> None:
    gateway, failed = Sent(read_model), FailedNotifications()
    schedule(read_model, "a", 1, -1)
    schedule(read_model, "rejected", 1, -1)
    schedule(read_model, "cancelled", 1, -1)
    drain(read_model, gateway, drain_settings=DrainSettings(max_attempts=1))

    given_up = audited(read_model, "The read model")
    assert list(failed.retry(read_model, failed.find(read_model, keys=["rejected"]))) == ["rejected/1"]
    gateway.repaired = True
    drain(read_model, gateway)
    with Session(read_model) as session:
        ReadModelScheduler().cancel("cancelled", revision=2, session=session)
        session.commit()
    repaired = audited(read_model, "The read model")

    assert violations(given_up) == {"missed": 2}
    assert repaired.tally.counts["none_due"] == 1
    assert (repaired.outcome, repaired.tally.owed_delivered) == ("pass", 2)


def test_an_outbox(engine: Engine) -> None:
    execute(
        engine,
        "CREATE TABLE outbox (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), created_at timestamptz)",
        "CREATE TABLE inbox (message_id uuid, received_at timestamptz)",
        "INSERT INTO outbox (created_at) SELECT now() - interval '1 hour' + n * interval '1 second' "
        "FROM generate_series(1, 50) n",
        "INSERT INTO inbox SELECT id, created_at + interval '1 second' FROM outbox ORDER BY created_at OFFSET 2",
        "INSERT INTO inbox SELECT message_id, received_at + interval '1 second' FROM inbox LIMIT 1",
    )

    silent = audited(engine, "An outbox table")
    stated = audited(engine, "An outbox table", assumed=frozenset({"no-cancels"}))

    assert violations(silent) == {"duplicate": 1}
    assert violations(stated) == {"missed": 2, "duplicate": 1}


def test_procrastinates_tables(engine: Engine) -> None:
    install("procrastinate", engine)
    execute(
        engine,
        "INSERT INTO procrastinate_jobs (queue_name, task_name, args, scheduled_at) "
        "SELECT 'default', 'deliver', '{}', now() + interval '0.1 second' FROM generate_series(1, 4)",
        "INSERT INTO procrastinate_jobs (queue_name, task_name, args) VALUES ('default', 'deliver', '{}')",
        # As the library does: a retry moves scheduled_at, a cancel and a success are events of a trigger.
        "UPDATE procrastinate_jobs SET status = 'doing' WHERE id IN (1, 2, 5)",
        "SELECT procrastinate_retry_job_v2(5, now() + interval '1 day', NULL, NULL, NULL)",
        "UPDATE procrastinate_jobs SET status = 'todo', scheduled_at = now() + interval '1 day' WHERE id = 1",
        "UPDATE procrastinate_jobs SET status = 'cancelled' WHERE id = 3",
        "SELECT pg_sleep(0.2)",
        "UPDATE procrastinate_jobs SET status = 'succeeded' WHERE id = 2",
    )

    report = audited(
        engine,
        "Procrastinate",
        lateness_limit_ns=10**9,
        clock_tolerance_ns=10**6,
        to_ns=int((NOW + timedelta(hours=1)).timestamp() * 1e9),
    )

    assert sorted(one.key for one in report.examples()["missed"]) == ["1", "4", "5"]
    assert report.tally.counts["none_due"] == 1
    assert report.tally.counts["on_time"] == 1


@pytest.mark.contenders
def test_obans_tables(engine: Engine) -> None:
    install("oban", engine)
    execute(
        engine,
        "INSERT INTO oban_jobs (state, worker, inserted_at, scheduled_at, completed_at, cancelled_at) "
        "SELECT v.state::oban_job_state, 'jobs.Deliver', t - interval '1 hour', t, t + v.took, t - v.before "
        "FROM (VALUES ('completed', interval '1 second', NULL::interval), ('completed', interval '50 seconds', NULL), "
        "('executing', NULL, NULL), ('cancelled', NULL, interval '1 minute')) v (state, took, before), "
        "(SELECT timezone('UTC', now()) - interval '10 minutes' AS t) now",
    )

    report = audited(engine, "Oban")

    assert violations(report) == {"missed": 1, "late": 1}
    assert report.tally.counts["none_due"] == 1


def install(name: str, engine: Engine) -> None:
    """Create the tables of a library with the library's own schema."""
    if reason := contenders.missing(name):
        pytest.skip(f"contender:{name}: {reason}")
    contenders.contender(str(contenders.folder(name) / "design.py")).run("install.py", engine)
