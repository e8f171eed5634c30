"""Hosts of their own: each direction can be cut alone, a link can be longer, and nothing is left behind."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from duetime.faults.fault import FaultNotVerified
from duetime.faults.hosts import FarDatabase, HostCut, SlowHost, states
from duetime.faults.mechanisms import host_network
from duetime.faults.mechanisms.host_network import HERE, FarHost, Host, HostNetwork
from duetime.harness.processes.cancellation import CancelToken
from tests.eventually import assert_eventually

pytestmark = pytest.mark.processes

ECHO = "import sys; sys.stdout.write(sys.stdin.readline()); sys.stdout.flush(); sys.stdin.read()"


@pytest.fixture
def network() -> Iterator[HostNetwork]:
    if reason := host_network.unavailable():
        pytest.skip(reason)
    with host_network.host_network() as network:
        yield network


@pytest.fixture
def worker(network: HostNetwork) -> Host:
    return network.host("worker-1")


@pytest.fixture
def database(network: HostNetwork) -> FarHost:
    network.host("database", far=True)
    host = network.far_host("database")
    assert host
    return host


@pytest.fixture
def broker(network: HostNetwork) -> Host:
    return network.host("broker")


def reached(*hosts: Host) -> dict[str, bool]:
    """Who reaches whom."""
    return {f"{one.name} > {other.name}": one.reaches(other) for one in hosts for other in hosts if one is not other}


@pytest.mark.parametrize("answers_only", [False, True])
def test_a_cut_drops_what_it_says_and_nothing_else(
    worker: Host, database: Host, broker: Host, answers_only: bool
) -> None:
    cut = HostCut(worker, database, broker, answers_only=answers_only)
    cut.inject()
    dropped = {name for name, arrives in reached(worker, database, broker).items() if not arrives}
    cut.verify_injected(CancelToken())
    cut.heal()

    assert dropped == {"database > worker-1", *(() if answers_only else ("worker-1 > database",))}
    assert all(reached(worker, database, broker).values())


def test_a_cut_that_was_not_injected_or_drops_too_much_is_not_verified(
    worker: Host, database: Host, broker: Host
) -> None:
    with pytest.raises(FaultNotVerified, match="a packet from the host of the database reached worker-1"):
        HostCut(worker, database, broker, answers_only=False).verify_injected(CancelToken())
    half = HostCut(worker, database, broker, answers_only=True)
    half.inject()
    worker.down()
    with pytest.raises(FaultNotVerified, match="a packet from the host of worker-1 did not reach the database"):
        half.verify_injected(CancelToken())


def test_a_far_database_is_far_for_as_long_as_it_is_injected(worker: Host, database: FarHost) -> None:
    far = FarDatabase(database, worker, 0.05)
    with pytest.raises(FaultNotVerified, match="a packet took"):
        far.verify_injected(CancelToken())
    far.inject()
    with database.socket() as one, worker.socket() as other:
        one.settimeout(2)
        other.sendto(b"1", one.getsockname())
        other.sendto(b"2", one.getsockname())
        assert one.recv(1) + one.recv(1) == b"12"

    assert far.verify_injected(CancelToken()).startswith("a packet took 5")
    far.heal()
    far.verify_healed(CancelToken())


def test_a_connection_outlasts_a_cut(worker: Host, database: Host, broker: Host) -> None:
    """As TCP sends again what was not acknowledged."""
    server = subprocess.Popen(
        [*database.enter, sys.executable, "-c", "import socket; s = socket.create_server(('', 5000)); "
         "print('ready', flush=True); c, _ = s.accept(); c.sendall(c.recv(10)); c.recv(10)"],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert server.stdout
    server.stdout.readline()
    with socket.create_connection((database.address, 5000), timeout=5) as client:
        cut = HostCut(worker, database, broker, answers_only=True)
        cut.inject()
        client.sendall(b"from here")
        assert client.recv(10) == b"from here"
        cut.heal()
    assert server.wait(timeout=5) == 0
    server.stdout.close()


def test_a_slow_host_stops_its_worker_most_of_the_time_and_leaves_it_running() -> None:
    with subprocess.Popen([sys.executable, "-c", ECHO], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        slow = SlowHost("worker-1", lambda: [process.pid])
        with pytest.raises(FaultNotVerified, match="worker-1 was stopped in 0 of"):
            slow.verify_injected(CancelToken())
        slow.inject()
        slow.verify_injected(CancelToken())
        slow.heal()
        slow.verify_healed(CancelToken())

        assert states([process.pid]) == {"S"}
        process.kill()


def test_nothing_is_left_of_a_network_after_sigkill(tmp_path: Path) -> None:
    if reason := host_network.unavailable():
        pytest.skip(reason)
    program = tmp_path / "holds_hosts.py"
    program.write_text(
        "from duetime.faults.mechanisms.host_network import host_network\n"
        "with host_network() as network:\n"
        "    network.host('worker-1'), network.host('database', far=True)\n"
        "    print(network.host('worker-1').address, flush=True)\n"
        "    input()\n"
    )
    with subprocess.Popen([sys.executable, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        number = int(holder.stdout.readline().split(b".")[2])
        here = Path("/sys/class/net") / HERE.format(number=number)
        assert here.exists()
        holder.kill()
    assert_eventually(lambda: not here.exists(), within_s=20)
