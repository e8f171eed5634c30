"""What a failover loses: the commits that only the old primary had, every time, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from duetime.faults.failover import Failover, OldPrimaryReturns
from duetime.faults.fault import Fault, FaultNotVerified
from duetime.faults.service import UnflushedKill
from duetime.harness.plan.plan import UNFLUSHED_S, Replication
from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.processes.cleanup import run_tempdir
from duetime.harness.processes.embedded_servers import initialise_cluster, postgres
from duetime.harness.processes.replication import ReplicatedDatabase, replicated_postgres, unflushed_bytes
from duetime.harness.processes.services import UNFLUSHED

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    with run_tempdir() as tempdir:
        initialise_cluster(tempdir / "template", tempdir=tempdir)
        yield tempdir / "template"


def beside(template: Path) -> Path:
    """Return a directory for a copy of the cluster."""
    return template.with_name(f"pg-{uuid4()}")


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


def wait_until_replicated(pair: ReplicatedDatabase) -> None:
    while pair.replicated_lsn() < pair.acknowledged_lsn():
        time.sleep(0.01)


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


@pytest.mark.parametrize("again", [0, *(pytest.param(number, marks=pytest.mark.full) for number in range(1, 10))])
def test_what_was_acknowledged_while_replication_had_stopped_is_lost_every_time(template: Path, again: int) -> None:
    with replicated_postgres(
        beside(template), template=template, tempdir=template.parent, replication="asynchronous"
    ) as pair:
        with connect(pair.url) as connection:
            connection.execute("CREATE TABLE numbers (number int)")
            insert(connection, range(10))
        wait_until_replicated(pair)
        fault = Failover(pair, synchronous=False)
        evidence = carry_out(fault, pair, range(10, 20))

        assert stored(pair.url) == list(range(10)), again
        assert "the standby lacks" in evidence
        assert fault.lost
        assert fault.lost.size > 0


def test_nothing_acknowledged_is_lost_if_commits_wait_for_the_standby(template: Path) -> None:
    with replicated_postgres(
        beside(template), template=template, tempdir=template.parent, replication="synchronous"
    ) as pair:
        with connect(pair.url) as connection:
            connection.execute("CREATE TABLE numbers (number int)")
        fault = Failover(pair, synchronous=True)
        carry_out(fault, pair, range(20))

        assert stored(pair.url) == list(range(20))
        assert fault.lost is None


@pytest.mark.full
def test_a_failover_that_loses_nothing_is_not_verified(template: Path) -> None:
    """As if replication had not been stopped."""
    with replicated_postgres(
        beside(template), template=template, tempdir=template.parent, replication="asynchronous"
    ) as pair:
        fault = Failover(pair, synchronous=False)
        with pytest.raises(FaultNotVerified, match="nothing was acknowledged that the standby does not have"):
            fault.verify_injected(CancelToken())


def test_commits_that_were_not_on_disk_are_lost_every_time(template: Path) -> None:
    with postgres(beside(template), template=template, tempdir=template.parent, settings=UNFLUSHED) as (
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


@pytest.fixture
def failed_over(template: Path, request: pytest.FixtureRequest) -> Iterator[ReplicatedDatabase]:
    replication: Replication = request.param
    with replicated_postgres(
        beside(template), template=template, tempdir=template.parent, replication=replication
    ) as pair:
        with connect(pair.url) as connection:
            connection.execute("CREATE TABLE numbers (number int)")
        wait_until_replicated(pair)
        carry_out(Failover(pair, synchronous=replication == "synchronous"), pair, range(5))
        yield pair


@pytest.mark.full
@pytest.mark.parametrize("failed_over", ["asynchronous"], indirect=True)
def test_an_old_primary_that_returns_takes_writes_that_are_lost_with_it(failed_over: ReplicatedDatabase) -> None:
    carry_out(OldPrimaryReturns(failed_over), failed_over, range(0))
    failed_over.start_old_primary()
    while not failed_over.old_primary_serves():
        time.sleep(0.01)
    with connect(failed_over.url) as connection:
        insert(connection, range(90, 95))
    failed_over.kill_primary()

    assert 90 not in stored(failed_over.url)


@pytest.mark.full
@pytest.mark.parametrize("failed_over", ["synchronous"], indirect=True)
def test_an_old_primary_whose_commits_wait_for_a_standby_acknowledges_nothing(failed_over: ReplicatedDatabase) -> None:
    carry_out(OldPrimaryReturns(failed_over), failed_over, range(0))
    failed_over.start_old_primary()
    while not failed_over.old_primary_serves():
        time.sleep(0.01)
    with connect(failed_over.url) as connection, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(connection.execute, "INSERT INTO numbers VALUES (90)")
        with pytest.raises(TimeoutError):
            waiting.result(timeout=1.0)
        failed_over.kill_primary()
        with pytest.raises(psycopg.OperationalError):
            waiting.result(timeout=10.0)
