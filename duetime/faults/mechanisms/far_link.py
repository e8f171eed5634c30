"""Relays the packets of one link in a process of its own, so that the link can be made longer.

Its two ends are TAP devices in two network namespaces. It reads from standard input by how many seconds to delay each
packet, answers each number with a line, and ends at the end of its input.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
import sys
import time
from collections import deque
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
TAP_WITHOUT_HEADER = 0x0002 | 0x1000
LONGEST_PACKET = 65536


def open_tap(pid: int, name: str) -> int:
    """Make the TAP device `name` in the network namespace of `pid`; return its file descriptor.

    Raises:
        OSError: this machine does not allow it.
    """
    with Path(f"/proc/{pid}/ns/net").open() as namespace:
        # os.setns was added in Python 3.12.
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", name.encode(), TAP_WITHOUT_HEADER))
    return device


class Relay:
    """Transfers packets between two devices, each after `delay_s`, in their order."""

    def __init__(self, one: int, other: int) -> None:
        self.delay_s = 0.0
        self._other_end = {one: other, other: one}
        self._on_the_way: deque[tuple[float, int, bytes]] = deque()

    def take(self, device: int) -> None:
        """Take what has arrived at `device`."""
        while True:
            try:
                packet = os.read(device, LONGEST_PACKET)
            except BlockingIOError:
                return
            self._on_the_way.append((time.monotonic() + self.delay_s, self._other_end[device], packet))

    def pass_on(self) -> float | None:
        """Pass on what is due. Return in how many seconds the next packet is; None if none is on its way."""
        while self._on_the_way:
            due_s, device, packet = self._on_the_way[0]
            if (left_s := due_s - time.monotonic()) > 0:
                return left_s
            self._on_the_way.popleft()
            try:
                os.write(device, packet)
            except OSError:
                # The device is down or its queue is full: a network drops such a packet.
                continue
        return None


def main() -> None:
    switch, port, host, end = sys.argv[1:]
    devices = open_tap(int(switch), port), open_tap(int(host), end)
    relay = Relay(*devices)
    selector = DefaultSelector()
    for source in (*devices, sys.stdin.fileno()):
        selector.register(source, EVENT_READ)
    print("ready", flush=True)  # noqa: T201 - the harness reads it
    while True:
        for key, _ in selector.select(relay.pass_on()):
            if key.fd in devices:
                relay.take(key.fd)
            elif line := os.read(key.fd, 100):
                relay.delay_s = float(line.split()[-1])
                print("done", flush=True)  # noqa: T201 - the harness reads it
            else:
                return


if __name__ == "__main__":
    main()
