"""`duetime status` and `duetime failed` with the settings and the rows that a database of somebody else may have."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from duetime import registry
from duetime.cli.failed import failed_group
from duetime.cli.status import status_command
from duetime.runtime.database import UTF8
from duetime.settings import Settings
from push_readmodel.drain import drain
from tests.designs.read_model import FAR, RecordingGateway, give_up, note, schedule

SETTINGS = [
    ("DateStyle", "SQL, DMY"),
    ("DateStyle", "German"),
    ("DateStyle", "Postgres, MDY"),
    ("TimeZone", "Australia/Lord_Howe"),
    ("TimeZone", "Pacific/Kiritimati"),
    ("IntervalStyle", "iso_8601"),
    ("client_encoding", "LATIN1"),
    ("standard_conforming_strings", "off"),
    ("statement_timeout", "5s"),
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_read_only", "on"),
    ("search_path", "public"),
]


def figures(settings: Settings, design: str = "push_readmodel") -> dict[str, object]:
    done = CliRunner().invoke(
        status_command,
        [design, "--json"],
        env=replace(settings, design=design).environment(),
        catch_exceptions=False,
    )
    assert done.exit_code == 0
    read: dict[str, object] = json.loads(done.output)
    return read


def default(engine: Engine, setting: str, value: str) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {engine.url.database} SET {setting} = '{value}'")


@pytest.mark.parametrize(("setting", "value"), SETTINGS, ids="{}".format)
def test_a_setting_of_the_database_does_not_change_the_figures(
    engine: Engine, settings: Settings, setting: str, value: str
) -> None:
    for design in ("push_readmodel", "pull_worker", "oban_style_queue:staged"):
        registry.load(design).install(engine)
    schedule(engine, note("é", due_at=FAR))
    give_up(engine, "gone")
    default(engine, setting, value)

    read = figures(settings)
    assert (read["pending"], read["given_up"]) == (1, 1)
    assert read["oldest_due_at"] == "2100-01-01T00:00:00+00:00"
    assert figures(settings, "pull_worker")["pending"] == 0
    assert figures(settings, "oban_style_queue:staged")["pending"] == 0
    listed = CliRunner().invoke(
        failed_group,
        ["list", "--json", "push_readmodel"],
        env=replace(settings, design="push_readmodel").environment(),
        catch_exceptions=False,
    )
    assert listed.exit_code == 0
    assert "gone" in listed.output


@pytest.fixture(params=["SQL_ASCII", "LATIN1"])
def encoded(request: pytest.FixtureRequest, engine: Engine) -> Iterator[Engine]:
    """A database with another encoding than UTF-8."""
    name = f"encoded_{uuid.uuid4().hex[:8]}"
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(
            f"CREATE DATABASE {name} ENCODING '{request.param}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
        )
        yield create_engine(make_url(engine.url).set(database=name), poolclass=NullPool, connect_args=UTF8)
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_database_in_another_encoding_can_be_read_and_drained(encoded: Engine, settings: Settings) -> None:
    registry.load("push_readmodel").install(encoded)
    schedule(encoded, note("far", due_at=FAR))
    url = encoded.url.render_as_string(hide_password=False)

    read = figures(replace(settings, database_url=url))

    assert (read["pending"], read["oldest_due_at"]) == (1, "2100-01-01T00:00:00+00:00")
    schedule(encoded, note("a"))
    with encoded.begin() as connection:
        connection.execute(text("UPDATE pending_notifications SET kind = 'é' WHERE key = 'a'"))
    gateway = RecordingGateway()
    assert drain(encoded, gateway) == 1
    assert gateway.ops == ["a/1"]


@pytest.mark.parametrize(
    ("due_at", "shown", "late"),
    [
        ("infinity", "9999-12-30T00:00:00+00:00", False),
        ("-infinity", "0001-01-02T00:00:00+00:00", True),
        ("294000-01-01 00:00Z", "9999-12-30T00:00:00+00:00", False),
        ("9999-12-31 23:59:59Z", "9999-12-30T00:00:00+00:00", False),
        ("0044-03-15 00:00Z BC", "0001-01-02T00:00:00+00:00", True),
    ],
)
def test_a_due_time_that_python_does_not_know_is_shown_at_the_end_of_its_calendar(
    engine: Engine, settings: Settings, due_at: str, shown: str, late: bool
) -> None:
    registry.load("push_readmodel").install(engine)
    schedule(engine, note("a", due_at=FAR))
    default(engine, "TimeZone", "Pacific/Kiritimati")
    with engine.begin() as connection:
        connection.execute(text("UPDATE pending_notifications SET due_at = :due_at"), {"due_at": due_at})

    read = figures(settings)

    assert read["oldest_due_at"] == shown
    assert isinstance(read["late_s"], float)
    assert (read["late_s"] > 0) is late
