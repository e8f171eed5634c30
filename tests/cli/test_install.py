"""`duetime install` creates what is missing, once, also when several processes run it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from sqlalchemy import URL, create_engine, inspect, make_url
from sqlalchemy.pool import NullPool

from duetime import registry
from duetime.app.tables import Base
from duetime.harness.processes import installation
from duetime.harness.processes.services import Endpoints
from tests.commands import duetime

pytestmark = pytest.mark.processes

APPLICATION = set(Base.metadata.tables)
READ_MODEL = {"pending_notifications", "failed_notifications"}


@pytest.fixture
def missing_database(shared_servers: Endpoints) -> Iterator[str]:
    """The URL of a database that does not exist; it is dropped after the test."""
    name = f"missing_{uuid.uuid4().hex[:8]}"
    url = make_url(shared_servers.database_url)
    yield url.set(drivername="postgresql", database=name).render_as_string(hide_password=False)
    existing = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(existing, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def tables(url: str) -> set[str]:
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    return set(inspect(engine).get_table_names())


def test_missing_tables_are_created_and_existing_ones_stay(missing_database: str) -> None:
    first = duetime("install", DUETIME_DATABASE_URL=missing_database, DUETIME_DESIGN="push_readmodel")
    after_one = tables(missing_database)
    second = duetime("install", DUETIME_DATABASE_URL=missing_database)

    assert first.stdout == "created the database; installed the application and push_readmodel\n", first.stderr
    assert after_one == APPLICATION | READ_MODEL
    assert second.stdout == "installed the application and oban_style_queue, pull_worker, push_readmodel\n"
    assert tables(missing_database) == after_one


def test_several_installations_may_run_at_the_same_time(missing_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    designs = [registry.load("push_readmodel"), registry.load("oban_style_queue:staged")]
    barrier = threading.Barrier(4)
    is_missing = installation._is_missing

    def all_find_it_missing(target: URL) -> bool:
        found = is_missing(target)
        barrier.wait(timeout=20)
        return found

    monkeypatch.setattr(installation, "_is_missing", all_find_it_missing)
    with ThreadPoolExecutor() as pool:
        running = [pool.submit(installation.install, missing_database, designs) for _ in range(barrier.parties)]
        for future in running:
            future.result(timeout=60)

    assert tables(missing_database) == APPLICATION | READ_MODEL | {"jobs"}


def test_a_server_that_does_not_answer_is_reported_without_its_password() -> None:
    done = duetime("install", DUETIME_DATABASE_URL="postgresql://somebody:secret@127.0.0.1:1/somewhere")

    assert done.returncode == 2
    assert "DUETIME_DATABASE_URL: cannot create what is missing" in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr
