"""A partition: one service in a network namespace of its own, whose only network link is taken down.

Packets are dropped in both directions, so clients notice it only by timeouts. A frozen service is different, because
its kernel still acknowledges what clients send, and so is a closed port, which refuses connections. The namespace has
no name, so it and both ends of the link disappear with the last process of the service, also after SIGKILL.
"""

from __future__ import annotations

import ctypes
import errno
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Self, TypeVar

from duetime.errors import HarnessError

T = TypeVar("T")

HOST_END = "duetime{number}"
"""Name of the link's end on the host. Names are unique, so it also reserves the addresses of the link."""
SERVICE_END = "peer"
NUMBERS = range(256)
SETTLE_S = 5.0
"""Limit for a change of the network, which usually takes some hundredths of a second."""
PERMANENT = 0x80
CLONE_NEWNET = 0x40000000
ECHO = """
import socket
with socket.create_server(("0.0.0.0", 0)) as listener:
    print(listener.getsockname()[1], flush=True)
    listener.settimeout(10)
    client, _ = listener.accept()
    client.settimeout(10)
    while received := client.recv(100):
        client.sendall(received)
"""
"""A server that returns what it receives, and ends after 10 s without a client."""


def isolated(command: Sequence[str]) -> list[str]:
    """Return `command`, started in a network namespace of its own, unreachable until ``NetworkLink.to``."""
    return ["unshare", "--net", "--", *command]


class NetworkError(HarnessError):
    """The kernel rejected a change or a query of the network."""

    def __init__(self, code: int, reason: str) -> None:
        required = "; it requires the capability CAP_NET_ADMIN" if code in (errno.EPERM, errno.EACCES) else ""
        super().__init__(f"the network cannot be changed: {reason}{required}")
        self.code = code


class NetworkLink:
    """The only link between this machine and a process that was started ``isolated``, with its children."""

    def __init__(self, pid: int, number: int) -> None:
        self._pid = pid
        self._number = number
        message = f"process {pid} is not in a network namespace of its own"
        wait_until(lambda: namespace_of(pid) != namespace_of(os.getpid()), message)
        self._namespace = namespace_of(pid)
        self._index = _create_link(pid, number)

    @classmethod
    def to(cls, pid: int) -> Self:
        """Connect the network namespace of `pid`, with addresses that are free on this machine.

        Raises:
            HarnessError: the process has ended or is not isolated, or this machine does not allow it.
        """
        # Starting at the pid, so that runs that start at the same time rarely try the same number.
        for number in [*NUMBERS[os.getpid() % 256 :], *NUMBERS[: os.getpid() % 256]]:
            try:
                return cls(pid, number)
            except NetworkError as error:
                if error.code != errno.EEXIST:
                    raise
        raise HarnessError("no addresses are free in 10.213.0.0/16")

    @property
    def address(self) -> str:
        """The address of the process from this machine; it must listen on it or on 0.0.0.0."""
        return _address(self._number, 2)

    def down(self) -> None:
        """Take the link down: packets are dropped in both directions."""
        # At the service's end: without the host's end and its route, packets would leave by the default route.
        self._set_service_end("down")
        wait_until(self.is_down, f"the network link to {self.address} is not down")

    def up(self) -> None:
        """Bring the link up. Connections continue when their retransmission timers expire."""
        self._set_service_end("up")
        wait_until(lambda: not self.is_down(), f"the network link to {self.address} is not up")

    def is_down(self) -> bool:
        """Return True if the host's end has no carrier, or was removed when the process ended."""
        try:
            with netlink() as host:
                return not _has_carrier(host, self._index)
        except NetworkError as error:
            if error.code != errno.ENODEV:
                raise
            return True

    def close(self) -> None:
        """Remove the link, if it still exists."""
        _remove_link(self._index)

    def _set_service_end(self, state: str) -> None:
        if namespace_of(self._pid) != self._namespace:
            raise HarnessError(f"process {self._pid} is gone, and with it the network link to {self.address}")
        with_netlink_in(self._pid, lambda far: far.link("set", index=index_of(far, SERVICE_END), state=state))


def _create_link(pid: int, number: int) -> int:
    """Create link `number` to the network namespace of `pid`. Return the index of the host's end."""
    name = HOST_END.format(number=number)
    with netlink() as host:
        if any(str(route.get_attr("RTA_DST")).startswith(_address(number, "")) for route in host.get_routes(family=2)):
            raise NetworkError(errno.EEXIST, f"{_address(number, 0)}/30 is in use")
        host.link("add", ifname=name, kind="veth", peer={"ifname": SERVICE_END, "net_ns_pid": pid})
        index = index_of(host, name)
        try:
            hardware = with_netlink_in(pid, lambda far: _set_up_service_end(far, number))
            host.addr("add", index=index, address=_address(number, 1), prefixlen=30)
            host.link("set", index=index, state="up")
            # Otherwise this machine asks for the hardware address, gets no answer, and reports "no route to host".
            host.neigh("replace", dst=_address(number, 2), lladdr=hardware, ifindex=index, state=PERMANENT)
            wait_until(lambda: _has_carrier(host, index), f"{name} has no carrier")
        except BaseException:
            _remove_link(index)
            raise
    return index


def _set_up_service_end(far: Any, number: int) -> str:
    """Bring up the loopback and the service's end of the link. Return the hardware address of the end."""
    index = index_of(far, SERVICE_END)
    far.link("set", index=index_of(far, "lo"), state="up")
    far.addr("add", index=index, address=_address(number, 2), prefixlen=30)
    far.link("set", index=index, state="up")
    return str(far.get_links(index)[0].get_attr("IFLA_ADDRESS"))


def _remove_link(index: int) -> None:
    try:
        with netlink() as host:
            host.link("del", index=index)
    except NetworkError as error:
        if error.code != errno.ENODEV:
            raise


def _address(number: int, last: int | str) -> str:
    return f"10.213.{number}.{last}"


def index_of(opened: Any, name: str) -> int:
    return int(opened.link_lookup(ifname=name)[0])


def _has_carrier(opened: Any, index: int) -> bool:
    return bool(opened.get_links(index)[0].get_attr("IFLA_OPERSTATE") == "UP")


def namespace_of(pid: int) -> int:
    """Return the network namespace of `pid`.

    Raises:
        HarnessError: the process has ended.
    """
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino
    except (FileNotFoundError, ProcessLookupError):
        raise HarnessError(f"process {pid} is gone") from None


@contextmanager
def netlink() -> Iterator[Any]:
    """Open a netlink socket in the network namespace of this thread.

    Raises:
        NetworkError: the kernel rejected a request of the block.
    """
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as opened:
            yield opened
    except NetlinkError as error:
        raise NetworkError(error.code, str(error.args[-1])) from error


def in_namespace_of(pid: int, action: Callable[[], T]) -> T:
    """Call `action` in the network namespace of `pid`.

    Raises:
        NetworkError: this machine does not allow it, or the kernel rejected a request of `action`.
    """
    # In a thread of its own, which ends in that namespace. pyroute2 would fork this process, with locks of its threads.
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(_enter_and_call, pid, action).result()


def _enter_and_call(pid: int, action: Callable[[], T]) -> T:
    with Path(f"/proc/{pid}/ns/net").open() as namespace:
        # os.setns was added in Python 3.12.
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise NetworkError(code, os.strerror(code))
    return action()


def with_netlink_in(pid: int, action: Callable[[Any], T]) -> T:
    """Call `action` with a netlink socket in the network namespace of `pid`; raises as `in_namespace_of`."""

    def call() -> T:
        with netlink() as opened:
            return action(opened)

    return in_namespace_of(pid, call)


def wait_until(condition: Callable[[], bool], message: str) -> None:
    give_up_at = time.monotonic() + SETTLE_S
    while not condition():
        if time.monotonic() > give_up_at:
            raise HarnessError(message)
        time.sleep(0.005)


@cache
def unavailable() -> str | None:
    """Return why this machine cannot partition a service, after trying it; None if it can."""
    if importlib.util.find_spec("pyroute2") is None:
        return "pyroute2 is missing: install duetime[partition]"
    if shutil.which("unshare") is None:
        return "the program unshare, of util-linux, is missing"
    command = isolated([sys.executable, "-I", "-S", "-c", ECHO])
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            return _try_partition(process)
        except (HarnessError, OSError) as error:
            process.kill()
            # The error of unshare comes first: without its namespace the program did not start.
            return (process.communicate()[1].strip().splitlines() or [str(error)])[-1]
        finally:
            process.kill()


def _try_partition(process: subprocess.Popen[str]) -> str | None:
    link = NetworkLink.to(process.pid)
    assert process.stdout is not None  # noqa: S101 - opened with stdout=PIPE
    port = int(process.stdout.readline() or 0)
    with socket.create_connection((link.address, port), timeout=SETTLE_S) as client:
        link.down()
        client.sendall(b"?")
        client.settimeout(0.05)
        with suppress(TimeoutError):
            client.recv(1)
            return "a network link that is down still transfers packets"
        link.up()
        client.settimeout(SETTLE_S)
        client.recv(1)
    return None
