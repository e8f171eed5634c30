"""The stepping proxy: between clients and PostgreSQL, it lets one statement of one session go on at a time.

A process of its own. Each participant has a port, so any client in any language can be stepped. It reads commands from
standard input and writes what happens to standard output, each a line of JSON. Statements without an effect on other
sessions pass at once, and so does everything in the mode `through`.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from duetime.explore.statements import BEGINS, ENDS, FIRES, UNDOES, bare, label_of, touched
from duetime.explore.wire import FLUSH, Messages, Observation, Unit, Units, asks_for_encryption, backend_pid, sqlstate

CHUNK = 65536
FOUND_NOTHING = re.compile(r" 0$")
COMPLETE = b"CIs"
"""Answers that end an Execute: it is complete, it was empty, or its portal was suspended."""


class Proxy:
    """The sessions, and what they may do. dial: host and port of PostgreSQL, or the path of its socket.

    through: whether sessions pass everything: for good those that begin meanwhile, from now on the others.
    """

    def __init__(self, dial: str) -> None:
        self.dial = dial
        self.through = True
        self.tables: list[str] = []
        self.sessions: dict[int, Session] = {}
        self._opened: dict[str, int] = {}
        self._out = sys.stdout

    def send(self, what: str, **fields: object) -> None:
        self._out.write(json.dumps({"what": what, **fields}) + "\n")
        self._out.flush()

    async def listen(self, participant: str) -> None:
        """Open a port for the participant `participant`."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            number = self._opened[participant] = self._opened.get(participant, 0) + 1
            await Session(self, participant, number, reader, writer).run()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self.send("listens", participant=participant, port=server.sockets[0].getsockname()[1])

    def command(self, command: Mapping[str, Any]) -> None:
        match command["do"]:
            case "tables":
                self.tables = command["tables"]
            case "step":  # hold statements from now on; numbers of sessions begin anew
                self.through = False
                self._opened.clear()
            case "through":
                self.through = True
                for each in list(self.sessions.values()):
                    each.pump()
            case "go":
                if held := self.sessions.get(command["id"]):
                    held.release()
            case "cut":
                if session := self.sessions.get(command["id"]):
                    session.cut()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.dial.startswith("/"):
            return await asyncio.open_unix_connection(self.dial)
        host, _, port = self.dial.rpartition(":")
        return await asyncio.open_connection(host, int(port))


class Session:
    """One connection of a participant. number: which of its connections it is, from 1."""

    _ids = 0

    def __init__(
        self, proxy: Proxy, participant: str, number: int, client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        Session._ids += 1
        self.id = Session._ids
        self._proxy, self._participant, self._number = proxy, participant, number
        self._client, self._to_client = client, to_client
        self._to_server: asyncio.StreamWriter | None = None
        self._units, self._queue = Units(), deque[Unit]()
        self._held = False
        self._running: Unit | None = None
        self._stepped = False
        """Whether the running unit is a step, or passes without being one."""
        self._failed = False
        """PostgreSQL ignores everything until the next Sync."""
        self._touched: frozenset[str] = frozenset()
        """What its transaction has touched so far."""
        self._in_transaction = False
        self._observation = Observation()
        self._found_nothing = False
        """The last statement changed, returned and locked no row."""
        self._error = ""
        """Of the query that is being executed: its ReadyForQuery follows."""

    async def run(self) -> None:
        try:
            server, self._to_server = await self._proxy.connect()
            if self._proxy.through:
                await self._pass_all(server, self._to_server)
                return
            self._proxy.sessions[self.id] = self
            self._proxy.send("opened", id=self.id, participant=self._participant, number=self._number)
            upward = asyncio.ensure_future(self._from_client())
            await self._from_server(server)
            upward.cancel()
        finally:
            for writer in (self._to_client, self._to_server):
                if writer:
                    writer.close()
            if self._proxy.sessions.pop(self.id, None):
                self._proxy.send("closed", id=self.id, participant=self._participant)

    async def _pass_all(self, server: asyncio.StreamReader, to_server: asyncio.StreamWriter) -> None:
        """A session that nobody steps costs no more than in a proxy that does not read along."""

        async def one_way(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(ConnectionError):
                while data := await reader.read(CHUNK):
                    writer.write(data)
                    await writer.drain()
            with suppress(OSError):
                writer.write_eof()

        await asyncio.gather(one_way(self._client, to_server), one_way(server, self._to_client))

    async def _from_client(self) -> None:
        assert self._to_server  # noqa: S101 - connected before
        messages, started = Messages(typed=False), False
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while data := await self._client.read(CHUNK):
                for message in messages.feed(data):
                    if not started and asks_for_encryption(message):
                        self._to_client.write(b"N")
                    elif not started:
                        started = messages.typed = True
                        self._to_server.write(message)
                    elif unit := self._units.add(message):
                        self._queue.append(unit)
                self.pump()
        # A client that is gone: its session ends, and what it had not been allowed to send never arrives.
        with suppress(OSError):
            self._to_server.write_eof()

    async def _from_server(self, server: asyncio.StreamReader) -> None:
        messages = Messages()
        with suppress(ConnectionError):
            while data := await server.read(CHUNK):
                ended: list[tuple[str, str]] = []
                for message in messages.feed(data):
                    kind = message[:1]
                    self._observation.add(message)
                    if kind == b"K":
                        self._proxy.send("backend", id=self.id, pid=backend_pid(message))
                    elif kind == b"E":
                        ended.append(("error", sqlstate(message)))
                    elif kind in COMPLETE:
                        ended.append(("complete", message[5:].rstrip(b"\0").decode()))
                    elif kind == b"Z":
                        ended.append(("ready", ""))
                # A client that is gone does not end the session: PostgreSQL does, when it has rolled back.
                with suppress(OSError):
                    if not self._to_client.is_closing():
                        self._to_client.write(data)
                        await self._to_client.drain()
                for what, detail in ended:
                    self._answered(what, detail)

    def _answered(self, what: str, detail: str) -> None:
        """The server has executed a unit, or answered a Sync."""
        unit = self._running
        if unit is None:
            return
        if what == "error":
            self._failed = unit.kind == "E"
        if what == "complete":
            self._found_nothing = bool(FOUND_NOTHING.search(detail))
        if unit.kind == "E" and what in ("complete", "error"):
            self._end(detail if what == "error" else "")
        elif what == "ready":
            self._failed = False
            self._end(self._error)
            self._error = ""
        elif what == "error":
            self._error = detail

    def _end(self, error: str) -> None:
        unit, self._running = self._running, None
        if unit and self._stepped:
            ended = bool(ENDS.match(bare(unit.sql))) or not self._in_transaction
            if ended:
                self._touched = frozenset()
            elif not self._found_nothing:
                self._touched |= touched(unit.sql, self._proxy.tables)
            self._proxy.send("done", id=self.id, error=error, ended=ended, observed=self._observation.digest())
        self._stepped = False
        self.pump()

    def pump(self) -> None:
        """Send what may pass, until a unit has to be held or is being executed."""
        while self._queue and self._running is None and not self._held:
            unit = self._queue[0]
            if not self._noticed(unit) or self._failed or self._proxy.through:
                self._send(self._queue.popleft())
            else:
                self._held = True
                self._proxy.send("held", id=self.id, label=label_of(unit.sql))

    def release(self) -> None:
        """Send the unit that is held."""
        if self._held:
            self._held, self._stepped = False, True
            unit = self._queue.popleft()
            if ENDS.match(bare(unit.sql)):
                self._in_transaction = False
            self._send(unit)

    def cut(self) -> None:
        """End the connection for the client at once, and for PostgreSQL as if the client had ended it."""
        self._to_client.close()
        if self._to_server:
            self._to_server.write_eof()

    def _noticed(self, unit: Unit) -> frozenset[str]:
        """Return what others may notice of `unit`. The end of a transaction shows what the transaction has touched."""
        text = bare(unit.sql)
        if ENDS.match(text) or UNDOES.match(text) or FIRES.match(text):
            return self._touched
        if BEGINS.match(text):
            self._in_transaction = True
        return touched(unit.sql, self._proxy.tables) if unit.sql else frozenset()

    def _send(self, unit: Unit) -> None:
        self._observation = Observation()
        assert self._to_server  # noqa: S101 - connected before
        answered = unit.kind in "QS" or (unit.kind == "E" and not self._failed)
        self._running = unit if answered else None
        # Without the flush PostgreSQL keeps the answer until the Sync, which may be held behind other statements.
        self._to_server.write(unit.data + (FLUSH if unit.kind == "E" and not self._failed else b""))


async def main(dial: str, participants: list[str]) -> None:
    proxy = Proxy(dial)
    for participant in participants:
        await proxy.listen(participant)
    commands = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := await commands.readline():
        proxy.command(json.loads(line))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
