"""A partition: one server on a network of its own, whose only wire is cut.

Not a freeze: the kernel of a frozen server goes on acknowledging what clients send, and a closed port refuses. Here
packets vanish, both ways, and nobody is told; only timeouts notice. The network is an unnamed namespace, so it and
both ends of the wire are gone with the server's last process, also after SIGKILL.
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
"""The name of the host's end: the kernel gives each name once, so it also reserves the addresses for one wire."""
FAR_END = "wire"
NUMBERS = range(256)
SETTLE_S = 5.0
"""How long a change of the network may take; here it takes some hundredths of a second."""
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
"""A server that returns what it gets, and ends within seconds of being forgotten."""


def isolated(command: Sequence[str]) -> list[str]:
    """`command` on a network of its own: the same process, unreachable until ``NetworkLink.to`` it."""
    return ["unshare", "--net", "--", *command]


class Refused(HarnessError):
    """The kernel would not change or show the network as asked."""

    def __init__(self, code: int, reason: str) -> None:
        need = "; it takes the capability CAP_NET_ADMIN" if code in (errno.EPERM, errno.EACCES) else ""
        super().__init__(f"the network cannot be arranged: {reason}{need}")
        self.code = code


class NetworkLink:
    """The only connection of a process that was started ``isolated``, and of its children, to this machine."""

    def __init__(self, pid: int, number: int) -> None:
        self._pid = pid
        self._number = number
        _await(lambda: _network_of(pid) != _network_of(os.getpid()), f"process {pid} is not on a network of its own")
        self._network = _network_of(pid)
        self._index = _lay(pid, number)

    @classmethod
    def to(cls, pid: int) -> Self:
        """Connect the network of `pid`, under addresses that nobody uses here.

        Raises:
            HarnessError: the process is gone, or is not isolated, or this machine does not allow it.
        """
        # Not always from 0: an address should still be free when ``again`` asks for it.
        for number in [*NUMBERS[os.getpid() % 256 :], *NUMBERS[: os.getpid() % 256]]:
            try:
                return cls(pid, number)
            except Refused as refused:
                if refused.code != errno.EEXIST:
                    raise
        raise HarnessError("no addresses are free in 10.213.0.0/16")

    def again(self, pid: int) -> Self:
        """The same address for `pid`, which takes the place of this wire's process; ends this wire.

        Raises:
            HarnessError: as for ``to``, or somebody else has taken the address in between.
        """
        self.close()
        return type(self)(pid, self._number)

    @property
    def address(self) -> str:
        """Where this machine reaches the process; it must listen there or on 0.0.0.0."""
        return _address(self._number, 2)

    def down(self) -> str:
        """Cut it: from now on packets vanish, both ways; return the evidence."""
        # The far end, not this one: without this end's route, packets would leave by the default route instead.
        self._set_far_end("down")
        _await(self.is_down, f"the wire to {self.address} is not down")
        return f"no carrier on the wire to {self.address}"

    def up(self) -> str:
        """Mend it; return the evidence. Who was sending goes on when its retransmission timer says so."""
        self._set_far_end("up")
        _await(lambda: not self.is_down(), f"the wire to {self.address} is not up")
        return f"carrier on the wire to {self.address}"

    def is_down(self) -> bool:
        """Whether the host's end has no carrier, or is gone with its process."""
        try:
            with _network() as host:
                return not _carries(host, self._index)
        except Refused as refused:
            if refused.code != errno.ENODEV:
                raise
            return True

    def close(self) -> None:
        """Take the wire away; nothing happens if it is gone already."""
        _remove(self._index)

    def _set_far_end(self, state: str) -> None:
        if _network_of(self._pid) != self._network:
            raise HarnessError(f"process {self._pid} is gone, and the wire to {self.address} with it")
        _there(self._pid, lambda far: far.link("set", index=_index(far, FAR_END), state=state))


def _lay(pid: int, number: int) -> int:
    """Make wire `number` between this machine and the network of `pid`; the index of the end on this side."""
    name = HOST_END.format(number=number)
    with _network() as host:
        if any(str(route.get_attr("RTA_DST")).startswith(_address(number, "")) for route in host.get_routes(family=2)):
            raise Refused(errno.EEXIST, f"{_address(number, 0)}/30 is in use")
        host.link("add", ifname=name, kind="veth", peer={"ifname": FAR_END, "net_ns_pid": pid})
        index = _index(host, name)
        try:
            hardware = _there(pid, lambda far: _set_up_far_end(far, number))
            host.addr("add", index=index, address=_address(number, 1), prefixlen=30)
            host.link("set", index=index, state="up")
            # Or this machine asks who has the address, gets no answer, and tells the client ("no route to host").
            host.neigh("replace", dst=_address(number, 2), lladdr=hardware, ifindex=index, state=PERMANENT)
            _await(lambda: _carries(host, index), f"{name} does not come up")
        except BaseException:
            _remove(index)
            raise
    return index


def _set_up_far_end(far: Any, number: int) -> str:
    """Give the process its loopback, and its end of the wire an address; the end's hardware address."""
    index = _index(far, FAR_END)
    far.link("set", index=_index(far, "lo"), state="up")
    far.addr("add", index=index, address=_address(number, 2), prefixlen=30)
    far.link("set", index=index, state="up")
    return str(far.get_links(index)[0].get_attr("IFLA_ADDRESS"))


def _remove(index: int) -> None:
    try:
        with _network() as host:
            host.link("del", index=index)
    except Refused as refused:
        if refused.code != errno.ENODEV:
            raise


def _address(number: int, last: int | str) -> str:
    return f"10.213.{number}.{last}"


def _index(network: Any, name: str) -> int:
    return int(network.link_lookup(ifname=name)[0])


def _carries(network: Any, index: int) -> bool:
    return bool(network.get_links(index)[0].get_attr("IFLA_OPERSTATE") == "UP")


def _network_of(pid: int) -> int:
    """Which network the process is on.

    Raises:
        HarnessError: it is gone.
    """
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino
    except (FileNotFoundError, ProcessLookupError):
        raise HarnessError(f"process {pid} is gone") from None


@contextmanager
def _network() -> Iterator[Any]:
    """Netlink to the network that this thread is on, for a moment.

    Raises:
        Refused: what was asked of it in the block was not done.
    """
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as netlink:
            yield netlink
    except NetlinkError as error:
        raise Refused(error.code, str(error.args[-1])) from error


def _there(pid: int, action: Callable[[Any], T]) -> T:
    """Do `action` with netlink to the network of `pid`."""
    # In a thread that ends with it. pyroute2's own way is to fork this process, whatever its other threads hold.
    with ThreadPoolExecutor(max_workers=1) as visitor:
        return visitor.submit(_visit, pid, action).result()


def _visit(pid: int, action: Callable[[Any], T]) -> T:
    with Path(f"/proc/{pid}/ns/net").open() as place:
        # os.setns came with Python 3.12.
        if ctypes.CDLL(None, use_errno=True).setns(place.fileno(), CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise Refused(code, os.strerror(code))
    with _network() as netlink:
        return action(netlink)


def _await(condition: Callable[[], bool], otherwise: str) -> None:
    give_up_at = time.monotonic() + SETTLE_S
    while not condition():
        if time.monotonic() > give_up_at:
            raise HarnessError(otherwise)
        time.sleep(0.005)


@cache
def unavailable() -> str | None:
    """Why this machine cannot cut a server off, found out by cutting one off; None if it can."""
    if importlib.util.find_spec("pyroute2") is None:
        return "pyroute2 is missing: install duetime[partition]"
    if shutil.which("unshare") is None:
        return "the program unshare, of util-linux, is missing"
    command = isolated([sys.executable, "-I", "-S", "-c", ECHO])
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            return _try_out(process)
        except (HarnessError, OSError) as error:
            process.kill()
            # What the program itself said comes first: without a network of its own it has not even started.
            return (process.communicate()[1].strip().splitlines() or [str(error)])[-1]
        finally:
            process.kill()


def _try_out(process: subprocess.Popen[str]) -> str | None:
    wire = NetworkLink.to(process.pid)
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    port = int(process.stdout.readline() or 0)
    with socket.create_connection((wire.address, port), timeout=SETTLE_S) as client:
        wire.down()
        client.sendall(b"?")
        client.settimeout(0.05)
        with suppress(TimeoutError):
            client.recv(1)
            return "a wire that is down goes on carrying"
        wire.up()
        client.settimeout(SETTLE_S)
        client.recv(1)
    return None
