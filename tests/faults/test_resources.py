"""What runs out is refused every time, what was acknowledged before is still there, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from duetime.faults.fault import Fault, FaultNotVerified
from duetime.faults.mechanisms import memory_group, small_disk
from duetime.faults.mechanisms.memory_group import MemoryGroup
from duetime.faults.resources import (
    BrokerDiskFull,
    DescriptorsUsedUp,
    DiskFull,
    MemoryLimit,
    TableDiskFull,
    extend_log,
)
from duetime.harness.plan.plan import Environment
from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.processes.cleanup import run_tempdir
from duetime.harness.processes.services import Endpoints, ServiceRequirements, Services
from duetime.urls import libpq_url
from tests.eventually import assert_eventually

pytestmark = pytest.mark.processes

needs_disks = pytest.mark.skipif(small_disk.unavailable() is not None, reason=str(small_disk.unavailable()))
needs_groups = pytest.mark.skipif(memory_group.unavailable() is not None, reason=str(memory_group.unavailable()))


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    with run_tempdir() as tempdir:
        services = Services(tempdir, environment={})
        services.prepare(side_by_side=1)
        yield services


@pytest.fixture
def endpoints(services: Services, request: pytest.FixtureRequest) -> Iterator[Endpoints]:
    """A database and a broker, of which one has a small disk."""
    requirements = ServiceRequirements(
        small_disks=frozenset({request.param}), environment=Environment(broker_persistence="aof")
    )
    with services.for_run(f"run-{request.param}", 0, requirements) as endpoints:
        yield endpoints


def injected(fault: Fault) -> str:
    fault.prepare(CancelToken())
    fault.inject()
    return fault.verify_injected(CancelToken())


def heal(fault: Fault) -> str:
    fault.heal()
    return fault.verify_healed(CancelToken())


def stored(url: str) -> list[int]:
    with psycopg.connect(url) as connection:
        return [number for (number,) in connection.execute("SELECT number FROM numbers ORDER BY number")]


@needs_disks
@pytest.mark.parametrize("endpoints", ["pg_wal"], indirect=True)
def test_a_database_whose_log_is_full_ends_and_has_lost_nothing_when_there_is_room(endpoints: Endpoints) -> None:
    url, database = libpq_url(endpoints.database_url), endpoints.database
    assert database
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE numbers (number int)")
        connection.execute("INSERT INTO numbers SELECT generate_series(1, 100)")
    fault = DiskFull(database, endpoints.disks["pg_wal"], lambda: extend_log(database, url), holds="the log")

    evidence = injected(fault)

    assert "No space left on device" in evidence
    assert database.gone()
    heal(fault)
    assert stored(url) == list(range(1, 101))


@needs_disks
@pytest.mark.parametrize("endpoints", ["database"], indirect=True)
def test_a_database_whose_tables_have_no_room_refuses_rows_and_deletes_others(endpoints: Endpoints) -> None:
    url, database = libpq_url(endpoints.database_url), endpoints.database
    assert database
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE numbers (number int, text text)")
        connection.execute("INSERT INTO numbers SELECT n, repeat('x', 100) FROM generate_series(1, 20) AS n")
        fault = TableDiskFull(database, endpoints.disks["database"], url)
        injected(fault)

        with pytest.raises(psycopg.errors.DiskFull):
            connection.execute("INSERT INTO numbers SELECT n, repeat('x', 100) FROM generate_series(21, 60) AS n")
        connection.execute("DELETE FROM numbers WHERE number > 10")
        heal(fault)
        connection.execute("INSERT INTO numbers VALUES (21, '')")
    assert stored(url) == [*range(1, 11), 21]


@needs_disks
@pytest.mark.parametrize("endpoints", ["broker"], indirect=True)
def test_a_broker_that_cannot_store_refuses_what_would_change_something(endpoints: Endpoints) -> None:
    assert endpoints.broker
    url = endpoints.broker_url
    with redis.Redis.from_url(url) as broker:
        broker.lpush("list", "before")
        fault = BrokerDiskFull(endpoints.broker, endpoints.disks["broker"], url)
        assert "MISCONF" in injected(fault)

        with pytest.raises(redis.ResponseError, match="MISCONF"):
            broker.lpush("list", "meanwhile")
        assert broker.lrange("list", 0, -1) == [b"before"]
        heal(fault)
        broker.lpush("list", "after")
        assert broker.lrange("list", 0, -1) == [b"after", b"before"]


KILLED = """
import sys
from duetime.faults.mechanisms.small_disk import small_disk
from duetime.harness.processes.cleanup import run_tempdir
with run_tempdir() as tempdir:
    disk = tempdir / "disk"
    disk.mkdir()
    with small_disk(disk):
        print(disk, flush=True)
        sys.stdin.read()
"""


@needs_disks
def test_no_disk_is_left_after_sigkill_of_the_command_that_mounted_it() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as command:
        assert command.stdout
        disk = Path(command.stdout.readline().strip())
        assert os.path.ismount(disk)
        command.send_signal(signal.SIGKILL)

    assert_eventually(lambda: not disk.parent.exists(), within_s=10)
    assert str(disk) not in Path("/proc/self/mountinfo").read_text()


TWO_PROCESSES = """
import subprocess, sys, time
held = subprocess.Popen([sys.executable, "-c", "import time; hold = b'x' * (40 << 20); time.sleep(60)"])
print("ready", flush=True)
held.wait()
print("child ended with", held.returncode, flush=True)
time.sleep(60)
"""
RECONNECTS = """
import socket, sys, time
address = sys.argv[1], int(sys.argv[2])
connection = socket.create_connection(address)
print("ready", flush=True)
while True:
    try:
        if connection and not connection.recv(1):
            connection.close()
            connection = None
        connection = connection or socket.create_connection(address)
        print("connected", flush=True)
    except OSError as error:
        print(error, flush=True)
        time.sleep(0.05)
"""


class Processes:
    """A process with its children, and its output as a log."""

    name = "worker-1"

    def __init__(self, command: list[str], log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            self._main = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        assert_eventually(self.serving, within_s=10)

    @property
    def pid(self) -> int:
        return self._main.pid

    def pids(self) -> list[int]:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [self.pid, *map(int, children)]

    def serving(self) -> bool:
        return self._main.poll() is None and "ready" in self._log.read_text()

    def logged(self, *texts: str) -> str | None:
        lines = self._log.read_text().splitlines()
        return next((line for line in reversed(lines) if any(text in line.lower() for text in texts)), None)

    def end(self) -> None:
        for pid in self.pids():
            os.kill(pid, signal.SIGKILL)
        self._main.wait()


@pytest.fixture
def group() -> Iterator[MemoryGroup]:
    group = MemoryGroup(f"duetime-test-{os.getpid()}-{time.monotonic_ns()}")
    yield group
    group.remove()
    assert not group.path.exists()


@needs_groups
def test_the_kernel_kills_the_largest_process_beyond_a_memory_limit_and_no_other(
    group: MemoryGroup, tmp_path: Path
) -> None:
    processes = Processes(group.launching([sys.executable, "-c", TWO_PROCESSES]), tmp_path / "log")
    try:
        [child] = processes.pids()[1:]
        assert_eventually(lambda: group.used_bytes() > 40 << 20, within_s=10)
        fault = MemoryLimit(processes, group)

        evidence = injected(fault)

        assert f"processes killed by the kernel: 1; gone: {child} (its child)" in evidence
        assert_eventually(lambda: processes.logged("child ended with -9"), within_s=5)
        heal(fault)
    finally:
        processes.end()


@pytest.mark.full
@needs_groups
def test_a_limit_that_is_not_reached_is_not_verified(group: MemoryGroup, tmp_path: Path) -> None:
    processes = Processes(group.launching([sys.executable, "-c", TWO_PROCESSES]), tmp_path / "log")
    try:
        fault = MemoryLimit(processes, group)
        fault.prepare(CancelToken())
        with pytest.raises(FaultNotVerified, match="the kernel killed no process"):
            fault.verify_injected(CancelToken())
    finally:
        processes.end()


@pytest.mark.parametrize("endpoints", ["none"], indirect=True)
def test_a_process_without_descriptors_cannot_connect_again_until_it_may(endpoints: Endpoints, tmp_path: Path) -> None:
    port = endpoints.broker_url.rpartition(":")[2].partition("/")[0]
    processes = Processes([sys.executable, "-c", RECONNECTS, "127.0.0.1", port], tmp_path / "log")
    try:
        with redis.Redis.from_url(endpoints.broker_url) as broker:
            fault = DescriptorsUsedUp(processes, lambda: broker.client_kill_filter(_type="normal", skipme=True))
            assert "Too many open files" in injected(fault)
            assert not processes.logged("connected")
            heal(fault)
        assert_eventually(lambda: processes.logged("connected"), within_s=5)
    finally:
        processes.end()
