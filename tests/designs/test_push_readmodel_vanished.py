"""A worker whose machine vanishes right after its claim: PostgreSQL frees the rows within half a minute."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import NullPool

from duetime.faults.mechanisms import network_namespace
from duetime.faults.mechanisms.network_namespace import NetworkLink, isolated
from duetime.harness.processes.embedded_servers import (
    EmbeddedServer,
    connects,
    initialise_cluster,
    postgres_command,
)
from push_readmodel.connection import connect
from push_readmodel.drain import drain
from push_readmodel.schema import metadata
from push_readmodel.statements import BEGIN, CLAIM, FRONT_OF_INDEX
from tests.designs.read_model import RecordingGateway, note, schedule
from tests.eventually import assert_eventually

pytestmark = pytest.mark.processes
PORT = 5432
WITHIN_S = 35.0
"""`tcp_user_timeout` is 30 s."""


@pytest.fixture
def database(tempdir: Path) -> Iterator[tuple[Engine, Engine, NetworkLink]]:
    """A PostgreSQL in a network namespace: an engine over its Unix socket, one over TCP, and the link of the latter."""
    if reason := network_namespace.unavailable():
        pytest.skip(reason)
    directory = tempdir / "vanished"
    initialise_cluster(directory, tempdir=tempdir)
    with (directory / "pg_hba.conf").open("a") as hba:
        hba.write("host all all 10.213.0.0/16 trust\n")
    server = EmbeddedServer(
        "PostgreSQL",
        isolated([*postgres_command(directory), "-c", "listen_addresses=0.0.0.0", "-c", f"port={PORT}"]),
        directory,
        tempdir=tempdir,
        probe=lambda _pid: connects(directory),
        end_with=signal.SIGINT,
    )
    server.start()
    server.wait_ready()
    link = NetworkLink.to(server.pid)
    local = create_engine(f"postgresql+psycopg://postgres@/postgres?host={directory}", poolclass=NullPool)
    remote = create_engine(f"postgresql+psycopg://postgres@{link.address}:{PORT}/postgres", poolclass=NullPool)
    metadata.create_all(local)
    try:
        yield local, remote, link
    finally:
        link.close()
        server.stop()


def test_rows_of_a_vanished_machine_are_free_within_35_seconds(database: tuple[Engine, Engine, NetworkLink]) -> None:
    local, remote, link = database
    schedule(local, note("a"))
    vanishing = connect(remote)
    vanishing.execute(BEGIN)

    # The claim waits for this lock, so that PostgreSQL sends its answer when the machine is gone already: it is never
    # acknowledged, and for as long as data is on its way TCP sends no keepalives.
    with local.connect() as connection:
        connection.exec_driver_sql("LOCK TABLE pending_notifications IN ACCESS EXCLUSIVE MODE")
        claiming = threading.Thread(target=claim_and_lose_the_answer, args=[vanishing])
        claiming.start()
        assert_eventually(lambda: waits_for_a_lock(local), within_s=10)
        link.down()
        connection.rollback()
    assert_eventually(lambda: drain(local, RecordingGateway()) == 0 and holds_the_row(local), within_s=10)

    vanished_at_s = time.monotonic()
    gateway = RecordingGateway()
    while not gateway.ops and time.monotonic() - vanished_at_s < WITHIN_S:
        drain(local, gateway)
        time.sleep(0.25)

    assert gateway.ops == ["a/1"]
    link.up()
    vanishing.close()
    claiming.join(timeout=30)


def claim_and_lose_the_answer(connection: psycopg.Connection[object]) -> None:
    with suppress(psycopg.Error):
        connection.execute(CLAIM, (FRONT_OF_INDEX, timedelta(), 10))


def waits_for_a_lock(engine: Engine) -> bool:
    with engine.connect() as connection:
        return bool(connection.exec_driver_sql("SELECT count(*) FROM pg_locks WHERE NOT granted").scalar_one())


def holds_the_row(engine: Engine) -> bool:
    """Return True if another session has the row locked."""
    with engine.connect() as connection:
        return not connection.exec_driver_sql("SELECT FROM pending_notifications FOR UPDATE SKIP LOCKED").all()
