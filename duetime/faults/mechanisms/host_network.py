"""A network of hosts: each a network namespace with an address of its own, joined by a switch.

The switch is a bridge in a namespace of its own, so all that this machine sees of the network is one interface. Each
namespace belongs to a process that ends when the harness ends, also after SIGKILL, and with the namespace all its
interfaces disappear. Hosts know one another's hardware addresses for good, as if a router stood between them: a packet
to a host that has vanished is lost, and nobody reports that it is unreachable.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache, partial
from typing import Any

from duetime.errors import HarnessError
from duetime.faults.mechanisms.network_namespace import (
    PERMANENT,
    NetworkError,
    in_namespace_of,
    index_of,
    isolated,
    namespace_of,
    netlink,
    wait_until,
    with_netlink_in,
)

NUMBERS = range(256)
HERE = "duetimeh{number}"
"""This machine's interface. Names are unique, so it also reserves the addresses."""
THIS_MACHINE = 1
BRIDGE = "switch"
OWN_END = "eth0"
NOBODY_HAS = "02:00:00:00:00:99"
"""A hardware address to which packets are sent in vain."""
PROBE_S = 0.3
TUN = "/dev/net/tun"


class Host:
    """One host.

    switch: the pid of the process whose namespace has the bridge. number: of the network, and of the host in it.
    """

    def __init__(self, name: str, pid: int, switch: int, number: tuple[int, int]) -> None:
        self.name = name
        self.pid = pid
        self._switch = switch
        self._number = number

    @property
    def address(self) -> str:
        return _address(*self._number)

    @property
    def enter(self) -> list[str]:
        """The beginning of a command that is to run on this host; its process keeps its pid."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", "--"]

    def down(self) -> None:
        """Take this host's link down: what it sends and what is sent to it is lost."""
        self._set_link("down")

    def up(self) -> None:
        self._set_link("up")

    def drop_to(self, other: Host) -> None:
        """Drop what this host sends to `other`, and nothing else."""
        self.learn(other, NOBODY_HAS)

    def pass_to(self, other: Host) -> None:
        """End `drop_to`; safe to call without it."""
        self.learn(other, other.hardware)

    @property
    def hardware(self) -> str:
        return _hardware(*self._number)

    def learn(self, other: Host, hardware: str) -> None:
        """Send what is for `other` to this hardware address."""
        with_netlink_in(self.pid, partial(_add_neighbour, end=OWN_END, address=other.address, hardware=hardware))

    def one_way_s(self, other: Host, *, within_s: float = PROBE_S) -> float | None:
        """Return how many seconds a packet needs from this host to `other`; None if it does not arrive in time.

        It is not answered, so it measures this direction alone.
        """
        with other.socket() as receiver, self.socket() as sender:
            receiver.settimeout(within_s)
            sent_at_s = time.monotonic()
            try:
                sender.sendto(b"?", receiver.getsockname())
                receiver.recv(1)
            except OSError:
                return None
            return time.monotonic() - sent_at_s

    def reaches(self, other: Host) -> bool:
        return self.one_way_s(other) is not None

    def socket(self) -> socket.socket:
        """Return a UDP socket on this host."""

        def bound() -> socket.socket:
            opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            opened.bind((self.address, 0))
            return opened

        return in_namespace_of(self.pid, bound)

    def _set_link(self, state: str) -> None:
        port = _port(self._number[1])
        with_netlink_in(self._switch, lambda switch: switch.link("set", index=index_of(switch, port), state=state))


class FarHost(Host):
    """A host whose link a process of this machine relays, so that it can be made longer."""

    relay: subprocess.Popen[bytes]

    def delay(self, seconds: float) -> None:
        """Deliver each packet from and to this host so much later.

        Raises:
            HarnessError: the relay has ended.
        """
        assert self.relay.stdin is not None and self.relay.stdout is not None  # noqa: S101 - opened as pipes
        with suppress(BrokenPipeError):
            self.relay.stdin.write(f"{seconds}\n".encode())
            self.relay.stdin.flush()
        if not self.relay.stdout.readline():
            raise HarnessError(f"the relay of the link of {self.name} ended")


class HostNetwork:
    """The hosts of one run, made when they are first asked for."""

    def __init__(self, stack: ExitStack, number: int, switch: int) -> None:
        self._stack = stack
        self._number = number
        self._switch = switch
        self._hosts: dict[str, Host] = {}
        self._lock = threading.Lock()

    def host(self, name: str, *, far: bool = False) -> Host:
        """The host `name`. far: if it is new, its link can be made longer.

        Raises:
            HarnessError: this machine does not allow it.
        """
        with self._lock:
            if name not in self._hosts:
                self._hosts[name] = self._add(name, far=far)
            return self._hosts[name]

    def far_host(self, name: str) -> FarHost | None:
        """The host `name`, if it was made far."""
        host = self._hosts.get(name)
        return host if isinstance(host, FarHost) else None

    def _add(self, name: str, *, far: bool) -> Host:
        number = (self._number, THIS_MACHINE + 1 + len(self._hosts))
        pid = self._stack.enter_context(_namespace())
        host = (FarHost if far else Host)(name, pid, self._switch, number)
        port = _port(number[1])
        if isinstance(host, FarHost):
            host.relay = self._stack.enter_context(_relay(self._switch, port, pid))
        else:
            peer = {"ifname": OWN_END, "net_ns_pid": pid}
            with_netlink_in(self._switch, lambda switch: switch.link("add", ifname=port, kind="veth", peer=peer))
        with_netlink_in(self._switch, partial(_join, port=port))
        with_netlink_in(pid, partial(_set_up, number=number))
        with netlink() as here:
            _add_neighbour(here, HERE.format(number=self._number), host.address, host.hardware)
        for other in self._hosts.values():
            other.learn(host, host.hardware)
            host.learn(other, other.hardware)
        return host


@contextmanager
def host_network() -> Iterator[HostNetwork]:
    """Make a network with no host but this machine, with addresses that are free here.

    Raises:
        HarnessError: this machine does not allow it.
    """
    with ExitStack() as stack:
        switch = stack.enter_context(_namespace())
        number = _connect_this_machine(switch)
        yield HostNetwork(stack, number, switch)


@contextmanager
def _namespace() -> Iterator[int]:
    """Run a process in a network namespace of its own, until this one ends; yield its pid."""
    with subprocess.Popen(isolated(["cat"]), stdin=subprocess.PIPE, stderr=subprocess.PIPE) as holder:
        try:
            wait_until(
                lambda: holder.poll() is not None or namespace_of(holder.pid) != namespace_of(os.getpid()),
                "unshare made no network namespace",
            )
            if holder.poll() is not None:
                raise HarnessError(holder.communicate()[1].decode().strip())
            yield holder.pid
        finally:
            holder.kill()


@contextmanager
def _relay(switch: int, port: str, pid: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run the relay of a link between the switch and the namespace of `pid`."""
    command = [sys.executable, "-P", "-m", "duetime.faults.mechanisms.far_link", str(switch), port, str(pid), OWN_END]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - opened as a pipe
            if process.stdout.readline() != b"ready\n":
                raise HarnessError("the relay of a link did not start")
            yield process
        finally:
            process.kill()


def _connect_this_machine(switch: int) -> int:
    """Connect this machine with the namespace of `switch`; return the number of the network."""
    # Starting at the pid, so that runs that start at the same time rarely try the same number.
    for number in [*NUMBERS[switch % 256 :], *NUMBERS[: switch % 256]]:
        try:
            return _connect_with_number(switch, number)
        except NetworkError as error:
            if error.code != errno.EEXIST:
                raise
    raise HarnessError("no addresses are free in 10.214.0.0/16")


def _connect_with_number(switch: int, number: int) -> int:
    name, port = HERE.format(number=number), _port(THIS_MACHINE)
    with netlink() as here:
        if any(str(route.get_attr("RTA_DST")).startswith(f"10.214.{number}.") for route in here.get_routes(family=2)):
            raise NetworkError(errno.EEXIST, f"10.214.{number}.0/24 is in use")
        here.link("add", ifname=name, kind="veth", peer={"ifname": port, "net_ns_pid": switch})
        with_netlink_in(switch, _make_bridge)
        with_netlink_in(switch, partial(_join, port=port))
        index = index_of(here, name)
        here.link("set", index=index, address=_hardware(number, THIS_MACHINE))
        here.addr("add", index=index, address=_address(number, THIS_MACHINE), prefixlen=24)
        here.link("set", index=index, state="up")
    return number


def _make_bridge(switch: Any) -> None:
    switch.link("add", ifname=BRIDGE, kind="bridge")
    switch.link("set", index=index_of(switch, BRIDGE), state="up")


def _join(switch: Any, port: str) -> None:
    switch.link("set", index=index_of(switch, port), master=index_of(switch, BRIDGE), state="up")


def _set_up(far: Any, number: tuple[int, int]) -> None:
    """Bring up the loopback and the link of a host, which also knows this machine."""
    index = index_of(far, OWN_END)
    far.link("set", index=index_of(far, "lo"), state="up")
    far.link("set", index=index, address=_hardware(*number))
    far.addr("add", index=index, address=_address(*number), prefixlen=24)
    far.link("set", index=index, state="up")
    here = (number[0], THIS_MACHINE)
    _add_neighbour(far, OWN_END, _address(*here), _hardware(*here))


def _add_neighbour(opened: Any, end: str, address: str, hardware: str) -> None:
    opened.neigh("replace", dst=address, lladdr=hardware, ifindex=index_of(opened, end), state=PERMANENT)


def _address(network: int, host: int) -> str:
    return f"10.214.{network}.{host}"


def _hardware(network: int, host: int) -> str:
    return f"02:d7:00:00:{network:02x}:{host:02x}"


def _port(host: int) -> str:
    return f"port{host}"


@cache
def unavailable() -> str | None:
    """Return why this machine cannot have hosts, after trying it; None if it can."""
    if importlib.util.find_spec("pyroute2") is None:
        return "pyroute2 is missing: install duetime[partition]"
    for program in ("unshare", "nsenter"):
        if shutil.which(program) is None:
            return f"the program {program}, of util-linux, is missing"
    if not os.access(TUN, os.R_OK | os.W_OK):
        return f"{TUN} cannot be opened, which a far host needs"
    try:
        return _try_hosts()
    except (HarnessError, OSError) as error:
        return str(error)


def _try_hosts() -> str | None:
    with host_network() as network:
        near, far = network.host("near"), network.host("far", far=True)
        wait_until(lambda: near.reaches(far) and far.reaches(near), "two hosts do not reach each other")
        near.drop_to(far)
        if near.reaches(far) or not far.reaches(near):
            return "one direction between two hosts cannot be cut"
    return None
