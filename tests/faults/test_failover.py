"""What a failover loses: the commits that only the old primary had, every time, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from duetime.faults.failover import Failover
from duetime.faults.fault import Fault, FaultNotVerified
from duetime.faults.service import UnflushedKill
from duetime.harness.plan.plan import UNFLUSHED_S
from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.processes.cleanup import run_tempdir
from duetime.harness.processes.embedded_servers import initialise_cluster, postgres
from duetime.harness.processes.replication import ReplicatedDatabase, replicated_postgres, unflushed_bytes
from duetime.harness.processes.services import UNFLUSHED

pytestmark = pytest.mark.processes


@pytest.fixture
def template(tmp_path: Path) -> Iterator[Path]:
    with run_tempdir() as tempdir:
        initialise_cluster(tempdir / "template", tempdir=tempdir)
        yield tempdir / "template"


def connect(url: str) -> psycopg.Connection:
    """As an application does: to whichever server can be written."""
    hosts = [part.removeprefix("host=") for part in url.partition("?")[2].split("&") if part.startswith("host=127")]
    address = f"postgresql://postgres@{','.join(hosts)}/postgres?target_session_attrs=read-write"
    return psycopg.connect(address if hosts else url.replace("+psycopg", ""), autocommit=True)


def insert(connection: psycopg.Connection, numbers: range) -> None:
    for number in numbers:
        connection.execute("INSERT INTO numbers VALUES (%s)", [number])


def stored(url: str) -> list[int]:
    with connect(url) as connection:
        return [row[0] for row in connection.execute("SELECT number FROM numbers ORDER BY number")]


def carry_out(fault: Fault, pair: ReplicatedDatabase, acknowledged: range) -> str:
    """Insert `acknowledged` between the injection and its verification; heal."""
    stop = CancelToken()
    with connect(pair.url) as connection:
        fault.prepare(stop)
        fault.inject()
        insert(connection, acknowledged)
        evidence = fault.verify_injected(stop)
    fault.heal()
    fault.verify_healed(stop)
    return evidence


@pytest.mark.parametrize("time", range(3))
def test_what_was_acknowledged_while_replication_had_stopped_is_lost_every_time(template: Path, time: int) -> None:
    with replicated_postgres(
        template.parent / "pg", template=template, tempdir=template.parent, replication="asynchronous"
    ) as pair:
        with connect(pair.url) as connection:
            connection.execute("CREATE TABLE numbers (number int)")
            insert(connection, range(10))
            while pair.replicated_lsn() < pair.acknowledged_lsn():
                pass
        fault = Failover(pair, synchronous=False)
        evidence = carry_out(fault, pair, range(10, 20))

        assert stored(pair.url) == list(range(10)), time
        assert "the standby lacks" in evidence
        assert fault.lost
        assert fault.lost.size > 0


def test_nothing_acknowledged_is_lost_if_commits_wait_for_the_standby(template: Path) -> None:
    with replicated_postgres(
        template.parent / "pg", template=template, tempdir=template.parent, replication="synchronous"
    ) as pair:
        with connect(pair.url) as connection:
            connection.execute("CREATE TABLE numbers (number int)")
        fault = Failover(pair, synchronous=True)
        carry_out(fault, pair, range(20))

        assert stored(pair.url) == list(range(20))
        assert fault.lost is None


def test_a_failover_that_loses_nothing_is_not_verified(template: Path) -> None:
    """As if replication had not been stopped."""
    with replicated_postgres(
        template.parent / "pg", template=template, tempdir=template.parent, replication="asynchronous"
    ) as pair:
        fault = Failover(pair, synchronous=False)
        with pytest.raises(FaultNotVerified, match="nothing was acknowledged that the standby does not have"):
            fault.verify_injected(CancelToken())


def test_commits_that_were_not_on_disk_are_lost_every_time(template: Path) -> None:
    with postgres(template.parent / "pg", template=template, tempdir=template.parent, settings=UNFLUSHED) as (
        url,
        server,
    ):
        with connect(url) as connection:
            connection.execute("CREATE TABLE numbers (number int)")
            connection.execute("CHECKPOINT")
            insert(connection, range(10))
            fault = UnflushedKill(server, lambda: unflushed_bytes(url), flushed_after_s=UNFLUSHED_S)
            fault.inject()
        fault.verify_injected(CancelToken())
        fault.heal()
        fault.verify_healed(CancelToken())

        assert len(stored(url)) < 10
        assert fault.lost
