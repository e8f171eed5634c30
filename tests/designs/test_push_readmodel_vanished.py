"""A worker whose machine vanishes right after its claim: PostgreSQL frees the rows, within half a minute by default."""

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
from push_readmodel.connection import connect, noticing
from push_readmodel.drain import drain
from push_readmodel.schema import metadata
from push_readmodel.statements import BEGIN, CLAIM, FRONT_OF_INDEX
from tests.designs.read_model import RecordingGateway, note, schedule
from tests.eventually import assert_eventually

pytestmark = pytest.mark.processes
PORT = 5432


@pytest.fixture
def database(
    tempdir: Path, vanished_after_s: int | None, answered: bool
) -> Iterator[tuple[Engine, Engine, NetworkLink]]:
    """A PostgreSQL in a network namespace: an engine over its Unix socket, one over TCP, and the link of the latter."""
    if reason := network_namespace.unavailable():
        pytest.skip(reason)
    directory = tempdir / f"vanished-{vanished_after_s}-{answered}"
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
    remote = create_engine(
        f"postgresql+psycopg://postgres@{link.address}:{PORT}/postgres",
        poolclass=NullPool,
        connect_args=noticing(vanished_after_s) if vanished_after_s else {},
    )
    metadata.create_all(local)
    try:
        yield local, remote, link
    finally:
        link.close()
        server.stop()


BY_DEFAULT = (None, 35.0)
WITH_SETTING = (4, 5.0)
IN_A_DELIVERY = True


@pytest.mark.parametrize(
    ("vanished_after_s", "within_s", "answered"),
    [
        pytest.param(
            *BY_DEFAULT, not IN_A_DELIVERY, id="by default, before the answer to its claim", marks=pytest.mark.full
        ),
        pytest.param(*BY_DEFAULT, IN_A_DELIVERY, id="by default, in a delivery", marks=pytest.mark.full),
        pytest.param(*WITH_SETTING, not IN_A_DELIVERY, id="DUETIME_VANISHED_AFTER_S=4, before the answer to its claim"),
        pytest.param(*WITH_SETTING, IN_A_DELIVERY, id="DUETIME_VANISHED_AFTER_S=4, in a delivery"),
    ],
)
def test_rows_of_a_machine_that_has_vanished_are_free_again(
    database: tuple[Engine, Engine, NetworkLink], within_s: float, answered: bool
) -> None:
    local, remote, link = database
    schedule(local, note("a"))
    vanishing = connect(remote)
    vanishing.execute(BEGIN)
    claiming = threading.Thread(target=claim_and_lose_the_answer, args=[vanishing])
    if answered:
        claiming.start()
        claiming.join()
        link.down()
    else:
        lose_the_answer(claiming, local, link)
    assert_eventually(lambda: drain(local, RecordingGateway()) == 0 and holds_the_row(local), within_s=10)

    vanished_at_s = time.monotonic()
    gateway = RecordingGateway()
    while not gateway.ops and time.monotonic() - vanished_at_s < within_s:
        drain(local, gateway)
        time.sleep(0.25)

    assert gateway.ops == ["a/1"]
    link.up()
    claiming.join(timeout=30)
    vanishing.close()


def lose_the_answer(claiming: threading.Thread, local: Engine, link: NetworkLink) -> None:
    """Start to claim, and take the link down before PostgreSQL answers.

    The claim waits for a lock until then. The answer is never acknowledged, and for as long as data is on its way TCP
    sends no keepalives.
    """
    with local.connect() as connection:
        connection.exec_driver_sql("LOCK TABLE pending_notifications IN ACCESS EXCLUSIVE MODE")
        claiming.start()
        assert_eventually(lambda: waits_for_a_lock(local), within_s=10)
        link.down()
        connection.rollback()


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
