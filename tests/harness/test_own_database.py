"""A run's own database on a server of the user's has PostgreSQL's defaults, whatever the server and the role have."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import make_url

from duetime.errors import ServiceUnavailable
from duetime.harness.processes.external_services import NEUTRAL, own_database
from duetime.harness.processes.services import Endpoints

ODD = {
    "DateStyle": "SQL, DMY",
    "TimeZone": "Australia/Lord_Howe",
    "client_encoding": "LATIN1",
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "statement_timeout": "50",
    "lock_timeout": "50",
    "idle_in_transaction_session_timeout": "50",
    "search_path": "elsewhere",
    "synchronous_commit": "off",
}


def plain(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture
def odd_role(shared_servers: Endpoints) -> Iterator[str]:
    """The URL of a role that may create databases and whose settings are unusual."""
    with psycopg.connect(plain(shared_servers.database_url), autocommit=True) as connection:
        connection.execute("CREATE ROLE odd LOGIN CREATEDB")
        for setting, value in ODD.items():
            connection.execute(f"ALTER ROLE odd SET {setting} = '{value}'")
        yield make_url(shared_servers.database_url).set(username="odd").render_as_string(hide_password=False)
        connection.execute("DROP ROLE odd")


def test_the_settings_of_the_role_do_not_reach_a_run(odd_role: str) -> None:
    assert ODD.keys() == NEUTRAL.keys()

    with own_database(odd_role) as url, psycopg.connect(plain(url)) as connection:
        found = {setting: connection.execute(f"SHOW {setting}").fetchone() for setting in NEUTRAL}
        encoding = connection.execute("SHOW server_encoding").fetchone()

    assert found == {setting: (value,) for setting, value in NEUTRAL.items()}
    assert encoding == ("UTF8",)


def test_a_database_whose_settings_are_refused_is_removed(
    shared_servers: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NEUTRAL, "TimeZone", "No/Such")
    names = "SELECT array_agg(datname ORDER BY datname) FROM pg_database"
    with psycopg.connect(plain(shared_servers.database_url), autocommit=True) as connection:
        before = connection.execute(names).fetchall()
        with pytest.raises(ServiceUnavailable, match="No/Such"), own_database(shared_servers.database_url):
            pass

        assert connection.execute(names).fetchall() == before
