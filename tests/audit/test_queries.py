"""Sources that are queries on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from duetime.audit import audit
from duetime.audit.columns import DELIVERED, PROMISED, Wanted
from duetime.audit.queries import Database
from duetime.errors import BadUsage
from duetime.harness.processes.services import Endpoints
from tests.audit.small import DELIVERED_COLUMNS, at, ns, request, violations, write

PROMISED_QUERY = "SELECT id AS key, 1 AS revision, due, accepted_at, cancelled_at FROM reminders"
DELIVERED_QUERY = "SELECT id AS key, 1 AS revision, at FROM sent"


@pytest.fixture
def url(endpoints: Endpoints) -> str:
    return endpoints.database_url.replace("+psycopg", "")


@pytest.fixture
def connection(url: str) -> Iterator[psycopg.Connection]:
    """A database with five reminders, of which one is cancelled and one was never sent."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE reminders (id bigint, due timestamptz, accepted_at timestamptz, cancelled_at timestamptz)"
        )
        connection.execute("CREATE TABLE sent (id bigint, at timestamptz)")
        for number, due in enumerate((0, 100, 200, 300, 1000)):
            cancelled = at(90) if number == 1 else None
            connection.execute("INSERT INTO reminders VALUES (%s, %s, %s, %s)", (number, at(due), at(-60), cancelled))
            if number not in (1, 2):
                connection.execute("INSERT INTO sent VALUES (%s, %s)", (number, at(due + 1)))
        yield connection


def test_queries_are_audited(url: str, connection: psycopg.Connection) -> None:
    report = audit(request(PROMISED_QUERY, DELIVERED_QUERY, database=url))

    assert violations(report) == {"missed": 1}
    assert [one.key for one in report.examples()["missed"]] == ["2"]
    assert report.examples()["missed"][0].evidence == ("promised row:3",)


def test_a_query_file_and_a_file_can_be_compared(url: str, connection: psycopg.Connection, tmp_path: Path) -> None:
    query = tmp_path / "promised.sql"
    query.write_text(f"-- the reminders of this year\n{PROMISED_QUERY};\n")
    delivered = write(
        tmp_path / "delivered.csv", DELIVERED_COLUMNS, [[number, 1, at(due)] for number, due in ((0, 0), (4, 1000))]
    )

    report = audit(request(str(query), str(delivered), database=url))

    assert violations(report) == {"missed": 2}


@pytest.mark.parametrize(
    "query",
    [
        "WITH gone AS (DELETE FROM reminders RETURNING *) SELECT id AS key, due FROM gone",
        "SELECT id AS key, nextval('numbers') AS revision, due FROM reminders",
    ],
)
def test_a_query_that_writes_is_refused_and_writes_nothing(
    query: str, url: str, connection: psycopg.Connection
) -> None:
    connection.execute("CREATE SEQUENCE numbers")

    with pytest.raises(BadUsage, match=r"--promised: (cannot execute .* in a read-only transaction|.* data-modifying)"):
        audit(request(query, DELIVERED_QUERY, database=url))

    assert connection.execute("SELECT count(*) FROM reminders").fetchone() == (5,)


def test_both_queries_see_one_snapshot(url: str, connection: psycopg.Connection) -> None:
    database = Database(url, statement_timeout_ms=60_000)
    promised = database.query(PROMISED_QUERY, Wanted("promised", PROMISED))
    connection.execute("INSERT INTO sent VALUES (2, %s)", (at(200),))
    delivered = database.query(DELIVERED_QUERY, Wanted("delivered", DELIVERED))

    assert (len(list(promised.rows)), len(list(delivered.rows))) == (5, 3)
    assert promised.complete_until_ns == delivered.complete_until_ns
    database.close()


def as_replica(url: str, connection: psycopg.Connection, replayed: str) -> str:
    """The URL of the same database as a replica whose last replayed transaction is of the time `replayed`."""
    connection.execute("CREATE SCHEMA replica")
    for function, value in (
        ("pg_is_in_recovery() RETURNS boolean", "true"),
        ("pg_last_xact_replay_timestamp() RETURNS timestamptz", replayed),
    ):
        connection.execute(f"CREATE FUNCTION replica.{function} LANGUAGE sql AS 'SELECT {value}'".encode())
    return f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3Dreplica,pg_catalog,public"


def test_the_data_of_a_replica_ends_with_what_it_has_replayed(url: str, connection: psycopg.Connection) -> None:
    connection.execute("INSERT INTO reminders VALUES (7, now() - interval '30 min', now() - interval '1 day', NULL)")
    replica = as_replica(url, connection, "now() - interval ''1 hour''")

    primary = audit(request(PROMISED_QUERY, DELIVERED_QUERY, database=url))
    lagging = audit(request(PROMISED_QUERY, DELIVERED_QUERY, database=replica))

    assert violations(primary) == {"missed": 2}
    assert violations(lagging) == {"missed": 1}
    assert 3500 < (primary.to_ns - lagging.to_ns) / 1e9 < 3600
    assert lagging.tally.counts["open"] == 1


def test_promises_of_a_replica_end_the_data_too(url: str, connection: psycopg.Connection) -> None:
    connection.execute("INSERT INTO reminders VALUES (7, now() - interval '30 min', now() - interval '1 day', NULL)")
    replica = as_replica(url, connection, "now() - interval ''1 hour''")

    report = audit(request(PROMISED_QUERY, DELIVERED_QUERY, database=replica, delivered_database=url))

    # Reminder 7 may have been cancelled since.
    assert violations(report) == {"missed": 1}


def test_a_replica_that_has_replayed_nothing_needs_an_end(url: str, connection: psycopg.Connection) -> None:
    replica = as_replica(url, connection, "NULL::timestamptz")

    with pytest.raises(BadUsage, match=r"a replica that has replayed no transaction since it was started.*--to"):
        audit(request(PROMISED_QUERY, DELIVERED_QUERY, database=replica))

    stated = audit(request(PROMISED_QUERY, DELIVERED_QUERY, database=replica, terms={"to_ns": ns(2000)}))
    assert violations(stated) == {"missed": 1}


def test_deliveries_of_another_database_are_read_before_the_promises(url: str) -> None:
    # Otherwise one of the meantime has no promise. now() is the time of the snapshot.
    other = f"{url}{'&' if '?' in url else '?'}application_name=other"
    due, at = (f"SELECT 1 AS key, 1 AS revision, now() AS {column}" for column in ("due", "at"))
    exact = {"early_tolerance_ns": 0, "clock_tolerance_ns": 0}

    report = audit(request(due, at, database=url, delivered_database=other, terms=exact))

    assert violations(report) == {"early": 1}


def test_a_statement_that_takes_too_long_is_ended(url: str, connection: psycopg.Connection) -> None:
    slow = "SELECT id AS key, due, pg_sleep(60) FROM reminders"

    with pytest.raises(BadUsage, match="statement timeout"):
        audit(request(slow, DELIVERED_QUERY, database=url, statement_timeout_ms=50))


def test_a_connection_that_is_lost_is_an_error_of_its_query(url: str, connection: psycopg.Connection) -> None:
    lost = "SELECT pg_terminate_backend(pg_backend_pid()) AS key, due FROM reminders"

    with pytest.raises(BadUsage, match=r"^--promised: terminating connection"):
        audit(request(lost, DELIVERED_QUERY, database=url))


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELECT id AS key FROM reminders", "the query --promised has no column 'due'; it has key"),
        ("SELECT id AS key, wenn AS due FROM reminders", '--promised: column "wenn" does not exist'),
        ("SELEC id AS key", "--promised: syntax error"),
    ],
)
def test_a_wrong_query_is_named(query: str, says: str, url: str, connection: psycopg.Connection) -> None:
    with pytest.raises(BadUsage, match=says):
        audit(request(query, DELIVERED_QUERY, database=url))


def test_times_without_zone_are_refused_and_need_their_zone(url: str, connection: psycopg.Connection) -> None:
    naive = PROMISED_QUERY.replace("due,", "due AT TIME ZONE 'Europe/Berlin' AS due,")

    with pytest.raises(BadUsage, match=r"promised row:1: due .* has no time zone"):
        audit(request(naive, DELIVERED_QUERY, database=url))

    assert violations(audit(request(naive, DELIVERED_QUERY, database=url, zone="Europe/Berlin"))) == {"missed": 1}


def test_numbers_of_seconds_are_times(url: str, connection: psycopg.Connection) -> None:
    numbers = "SELECT id AS key, 1 AS revision, extract(epoch FROM at) AS at FROM sent"

    assert violations(audit(request(PROMISED_QUERY, numbers, database=url))) == {"missed": 1}


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://root:geheim@db/shop", "--database begins with mysql://, and duetime needs PostgreSQL"),
        ("postgresql://u:geheim@127.0.0.1:1/none", "--database: .*connection"),
    ],
)
def test_a_database_that_cannot_be_used_is_named_without_its_password(url: str, says: str) -> None:
    with pytest.raises(BadUsage, match=says) as error:
        audit(request(PROMISED_QUERY, DELIVERED_QUERY, database=url))

    assert "geheim" not in str(error.value)
