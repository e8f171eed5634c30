"""A fast gateway for every language: answers each POST, and writes a line for each with the instant of its arrival.

``python -m benchmarks.league_gateway FILE`` prints its port. It does less than the gateway of runs, which would be the
slowest part of a fast worker. The first delivery of a key that begins with ``hold`` gets no answer, so that its worker
can be killed in the middle of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

ANSWER = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"


class Connection(asyncio.Protocol):
    """One connection of a worker, which may stay open for many requests."""

    def __init__(self, file: int, held: set[str]) -> None:
        self._file = file
        self._held = held
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            head = self._read[:end].lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            if len(self._read) < end + 4 + length:
                return
            body, self._read = self._read[end + 4 : end + 4 + length], self._read[end + 4 + length :]
            self._delivered(json.loads(body), keep=b"connection: close" not in head)

    def _delivered(self, body: dict[str, object], *, keep: bool) -> None:
        key = str(body["key"])
        line = {"op": f"{key}/{body['revision']}", "worker": body["worker"], "at_ns": time.monotonic_ns()}
        os.write(self._file, json.dumps(line).encode() + b"\n")
        if key.startswith("hold") and key not in self._held:
            self._held.add(key)
            return
        self._transport.write(ANSWER)
        if not keep:
            self._transport.close()


async def serve(path: str) -> None:
    file, held = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644), set[str]()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(file, held), "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
