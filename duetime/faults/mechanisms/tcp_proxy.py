"""A TCP proxy in a process of its own, between clients and workers on one side and one service on the other.

It reads commands from standard input, answers each with a line, and ends at the end of its input. A frozen proxy is not
a partition, because its kernel still acknowledges what clients send.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Literal

Command = Literal["pass", "cut", "refuse", "freeze"]
Address = str
"""A path of a Unix socket, or HOST:PORT."""

CHUNK = 65536
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with a timeout of 0: closing sends RST instead of FIN, like a cut connection."""


class Proxy:
    """Transfers bytes both ways between connections to `listen` and connections to `dial`."""

    def __init__(self, listen: Address, dial: Address) -> None:
        self._listen = listen
        self._dial = dial
        self._not_frozen = asyncio.Event()
        self._not_frozen.set()
        self._listener: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._reserved = _reserve(listen)

    async def execute(self, command: Command) -> dict[str, int]:
        """Execute `command`. Return the number of client connections that were open before it."""
        before = len(self._open) // 2
        self._not_frozen.set()
        if command == "freeze":
            self._not_frozen.clear()
        if command in ("cut", "refuse"):
            self._close_listener()
        else:
            await self._open_listener()
        if command == "cut":
            self._reset_connections()
        return {"open": before}

    async def _open_listener(self) -> None:
        if self._listener is None:
            if is_path(self._listen):
                Path(self._listen).unlink(missing_ok=True)
                self._listener = await asyncio.start_unix_server(self._serve, self._listen)
            else:
                host, port = host_and_port(self._listen)
                self._listener = await asyncio.start_server(self._serve, host, port, reuse_address=True)

    def _close_listener(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _reset_connections(self) -> None:
        for writer in list(self._open):
            connection = writer.get_extra_info("socket")
            if connection is not None and connection.family != socket.AF_UNIX:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()

    async def _serve(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        self._open.add(to_client)
        to_service = None
        try:
            await self._not_frozen.wait()
            from_service, to_service = await _connect(self._dial)
            self._open.add(to_service)
            await asyncio.gather(self._transfer(from_client, to_service), self._transfer(from_service, to_client))
        except OSError:
            pass
        finally:
            for writer in (to_client, to_service):
                if writer is not None:
                    self._open.discard(writer)
                    with suppress(OSError, RuntimeError):
                        writer.close()

    async def _transfer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(CHUNK):
            await self._not_frozen.wait()
            writer.write(chunk)
            await writer.drain()
        await self._not_frozen.wait()
        with suppress(OSError, RuntimeError):
            writer.write_eof()


async def _connect(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if is_path(address):
        return await asyncio.open_unix_connection(address)
    return await asyncio.open_connection(*host_and_port(address))


def is_path(address: Address) -> bool:
    return address.startswith("/")


def host_and_port(address: Address) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def _reserve(address: Address) -> socket.socket | None:
    """Hold the port while the listener is closed; otherwise the kernel may give it to an outgoing connection."""
    if is_path(address):
        return None
    reservation = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reservation.bind(host_and_port(address))
    return reservation


async def main() -> None:
    proxy = Proxy(sys.argv[1], sys.argv[2])
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    await proxy.execute("pass")
    print("ready", flush=True)  # noqa: T201 - the harness reads it
    while line := await commands.readline():
        command: Command = json.loads(line)
        print(json.dumps(await proxy.execute(command)), flush=True)  # noqa: T201 - the harness reads it


if __name__ == "__main__":
    asyncio.run(main())
