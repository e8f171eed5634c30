"""A proxy in a process of its own, between the application with its servers and one of their services.

It is told what to do by words on its standard input and answers each with a line; it ends when that is closed.
Freezing it is not a partition: its kernel goes on acknowledging what nobody reads.
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
"""SO_LINGER with no time: closing sends RST, as a cut does, instead of FIN."""


class Proxy:
    """Carries bytes both ways between whoever connects to `listen` and `dial`."""

    def __init__(self, listen: Address, dial: Address) -> None:
        self._listen = listen
        self._dial = dial
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._listener: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._reserved = _reserve(listen)

    async def execute(self, word: Command) -> dict[str, int]:
        """Do what `word` says; how many connections were open before, counted at the client's side."""
        before = len(self._open) // 2
        self._flowing.set()
        if word == "freeze":
            self._flowing.clear()
        if word in ("cut", "refuse"):
            await self._close_listener()
        else:
            await self._listen_again()
        if word == "cut":
            self._cut_all()
        return {"open": before}

    async def _listen_again(self) -> None:
        if self._listener is None:
            if is_path(self._listen):
                Path(self._listen).unlink(missing_ok=True)
                self._listener = await asyncio.start_unix_server(self._serve, self._listen)
            else:
                host, port = host_and_port(self._listen)
                self._listener = await asyncio.start_server(self._serve, host, port, reuse_address=True)

    async def _close_listener(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _cut_all(self) -> None:
        for writer in list(self._open):
            connection = writer.get_extra_info("socket")
            if connection is not None and connection.family != socket.AF_UNIX:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        onward = None
        try:
            await self._flowing.wait()
            there, onward = await _connect(self._dial)
            self._open.add(onward)
            await asyncio.gather(self._carry(reader, onward), self._carry(there, writer))
        except OSError:
            pass
        finally:
            for end in (writer, onward):
                if end is not None:
                    self._open.discard(end)
                    with suppress(OSError, RuntimeError):
                        end.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(CHUNK):
            await self._flowing.wait()
            writer.write(chunk)
            await writer.drain()
        await self._flowing.wait()
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
    """Hold the port while nobody listens, or an outgoing connection of somebody else might be given it."""
    if is_path(address):
        return None
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(host_and_port(address))
    return held


async def main() -> None:
    proxy = Proxy(sys.argv[1], sys.argv[2])
    words = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(words), sys.stdin)
    await proxy.execute("pass")
    print("ready", flush=True)  # noqa: T201 - the harness reads it
    while line := await words.readline():
        word: Command = json.loads(line)
        print(json.dumps(await proxy.execute(word)), flush=True)  # noqa: T201 - the harness reads it


if __name__ == "__main__":
    asyncio.run(main())
