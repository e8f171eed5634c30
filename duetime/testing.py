"""Pytest fixtures for tests of a design: add ``pytest_plugins = ["duetime.testing"]`` to ``conftest.py``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import NullPool

from duetime.app.tables import Base
from duetime.extras import needed_by
from duetime.settings import Settings

with needed_by("duetime.testing", least="servers"):
    from duetime.harness.processes.cleanup import run_tempdir
    from duetime.harness.processes.environment import other_servers_hidden
    from duetime.harness.processes.external_services import own_broker_database, own_database
    from duetime.harness.processes.services import Endpoints, Services


@pytest.fixture(scope="session")
def tempdir() -> Iterator[Path]:
    """A temporary directory for the session. At its end, the processes started in it are killed and it is removed."""
    with run_tempdir() as path:
        yield path


@pytest.fixture(scope="session")
def shared_servers(tempdir: Path) -> Iterator[Endpoints]:
    """A PostgreSQL and a Valkey for the session, started by it and stopped after it."""
    # environment={}: never use the servers that DUETIME_… variables name, because tests write into these.
    services = Services(tempdir, environment={})
    with ExitStack() as stack:
        # Not for the whole session, because other tests may need these variables.
        with other_servers_hidden():
            services.prepare(side_by_side=1)
            endpoints = stack.enter_context(services.for_run("tests", 0))
        yield endpoints


@pytest.fixture
def endpoints(shared_servers: Endpoints) -> Iterator[Endpoints]:
    """The URLs of an empty database and an empty broker database for one test."""
    with (
        other_servers_hidden(),
        own_database(shared_servers.database_url) as database,
        own_broker_database(shared_servers.broker_url, 0) as url,
    ):
        yield replace(
            shared_servers, database_url=database, database_through=database, broker_url=url, broker_through=url
        )


@pytest.fixture
def engine(endpoints: Endpoints) -> Iterator[Engine]:
    """A SQLAlchemy engine for this test's database, with the application's tables created."""
    engine = create_engine(endpoints.database_url, poolclass=NullPool)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def settings(endpoints: Endpoints, tmp_path: Path) -> Settings:
    """The settings of a worker named ``worker-1`` on this test's database and broker; `design` is empty."""
    return Settings(
        design="",
        database_url=endpoints.database_url,
        broker_url=endpoints.broker_url,
        worker="worker-1",
        deliveries=tmp_path / "deliveries.jsonl",
        delivery_time=timedelta(),
        reminder_lead=timedelta(seconds=10),
        poll_interval=timedelta(seconds=1),
    )
