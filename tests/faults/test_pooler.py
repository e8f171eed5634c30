"""A killed pooler takes every connection and open transaction with it, and starts again on its old socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import make_url

from duetime.faults.fault import FaultNotVerified
from duetime.faults.pooler import PoolerKill
from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.processes.embedded_servers import initialise_cluster, postgres
from duetime.harness.processes.pooler import MISSING, Pooler, pooler, unavailable
from duetime.harness.processes.services import Endpoints
from duetime.urls import libpq_url
from tests.eventually import assert_eventually

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(unavailable() is not None, reason=MISSING),
]


@pytest.fixture
def by_port(tempdir: Path) -> Iterator[str]:
    """The URL of a PostgreSQL that is reached by a port."""
    directory = tempdir / str(uuid4())
    directory.mkdir()
    initialise_cluster(directory / "template", tempdir=tempdir)
    with postgres(directory / "pg", template=directory / "template", tempdir=tempdir, by_tcp=True) as (url, _):
        yield url


@pytest.fixture(params=["transaction", pytest.param("session", marks=pytest.mark.full)])
def between(endpoints: Endpoints, tempdir: Path, request: pytest.FixtureRequest) -> Iterator[Pooler]:
    with pooler(endpoints.database_url, request.param, tempdir / str(uuid4()), tempdir=tempdir) as running:
        yield running


def test_a_killed_pooler_ends_open_transactions_and_answers_again(between: Pooler, endpoints: Endpoints) -> None:
    fault, stop = PoolerKill(between), CancelToken()
    with psycopg.connect(libpq_url(endpoints.database_url), autocommit=True) as direct:
        direct.execute("CREATE TABLE numbers (number int)")
        client = psycopg.connect(libpq_url(between.through))
        client.execute("INSERT INTO numbers VALUES (1)")
        client.commit()
        client.execute("INSERT INTO numbers VALUES (2)")

        fault.prepare(stop)
        fault.inject()
        evidence = fault.verify_injected(stop)
        with pytest.raises(psycopg.OperationalError):
            client.commit()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(libpq_url(between.through))
        fault.heal()
        healed = fault.verify_healed(stop)

        # PostgreSQL rolls back when it notices that the pooler is gone.
        open_transactions = """
            SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND state LIKE 'idle in transaction%'
        """
        assert_eventually(lambda: direct.execute(open_transactions).fetchone() == (0,))
        with psycopg.connect(libpq_url(between.through)) as again:
            assert again.execute("SELECT number FROM numbers").fetchall() == [(1,)]
    assert "1 client connections through it were open" in evidence
    assert "answers again" in healed


def test_a_pooler_that_no_client_uses_is_not_hit(between: Pooler) -> None:
    fault, stop = PoolerKill(between), CancelToken()
    fault.inject()
    with pytest.raises(FaultNotVerified, match="no client was connected"):
        fault.verify_injected(stop)
    fault.heal()
    fault.verify_healed(stop)


@pytest.mark.full
def test_a_pooler_before_a_port_listens_on_a_port(by_port: str, tempdir: Path) -> None:
    with pooler(by_port, "session", tempdir / str(uuid4()), tempdir=tempdir) as between:
        host, port = make_url(between.through).host, make_url(between.through).port
        with psycopg.connect(f"postgresql://postgres@{host}:{port}/postgres") as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert port != make_url(by_port).port
