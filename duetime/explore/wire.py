"""PostgreSQL's protocol as far as stepping needs it: where messages end, and which statement a client sends.

https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

NO_ENCRYPTION = (80877103, 80877104)
"""Codes of SSLRequest and GSSENCRequest, which a proxy that has to read along answers with N."""
FLUSH = b"H\x00\x00\x00\x04"
STARTUP_LENGTH = 4


@dataclass(slots=True)
class Messages:
    """Cuts a stream of bytes into messages. typed: False for what a client sends first, which has no type."""

    typed: bool = True
    _rest: bytes = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield each message that is complete, with its type and length."""
        self._rest += data
        while True:
            head = 1 if self.typed else 0
            if len(self._rest) < head + STARTUP_LENGTH:
                return
            size = head + int.from_bytes(self._rest[head : head + STARTUP_LENGTH], "big")
            if len(self._rest) < size:
                return
            message, self._rest = self._rest[:size], self._rest[size:]
            yield message


def asks_for_encryption(startup: bytes) -> bool:
    return len(startup) == 8 and struct.unpack("!I", startup[4:])[0] in NO_ENCRYPTION


def backend_pid(message: bytes) -> int:
    """Return the process id in a BackendKeyData message."""
    return int(struct.unpack("!I", message[5:9])[0])


def sqlstate(message: bytes) -> str:
    """Return the SQLSTATE in an ErrorResponse message."""
    for part in message[5:].split(b"\0"):
        if part[:1] == b"C":
            return part[1:].decode()
    return ""


CLOCKS = {700, 701, 1082, 1083, 1114, 1184, 1186, 1266, 1700}
"""Types of columns that may depend on a clock: floating point and numeric, dates, times and intervals."""


class Observation:
    """What a statement has shown to its client, without what a clock decides."""

    def __init__(self) -> None:
        self._hash = hashlib.sha1(usedforsecurity=False)
        self._clocks: list[bool] = []

    def add(self, message: bytes) -> None:
        kind = message[:1]
        if kind == b"T":
            self._clocks = [oid in CLOCKS for oid in types_of(message)]
        elif kind == b"D":
            for number, value in enumerate(values_of(message)):
                if number >= len(self._clocks) or not self._clocks[number]:
                    self._hash.update(repr(value).encode())
        elif kind == b"E":
            self._hash.update(sqlstate(message).encode())
        elif kind == b"C":
            self._hash.update(message)

    def digest(self) -> str:
        return self._hash.hexdigest()[:16]


def types_of(description: bytes) -> list[int]:
    """Return the type of each column of a RowDescription message."""
    (count,) = struct.unpack("!H", description[5:7])
    found, at = [], 7
    for _ in range(count):
        at = description.index(b"\0", at) + 1 + 6
        found.append(int(struct.unpack("!I", description[at : at + 4])[0]))
        at += 12
    return found


def values_of(row: bytes) -> list[bytes | None]:
    """Return the columns of a DataRow message."""
    (count,) = struct.unpack("!H", row[5:7])
    found: list[bytes | None] = []
    at = 7
    for _ in range(count):
        (size,) = struct.unpack("!i", row[at : at + 4])
        at += 4
        found.append(None if size < 0 else row[at : at + size])
        at += max(size, 0)
    return found


@dataclass(slots=True)
class Unit:
    """Messages that a client's session sends as one step: a query, or what leads to one Execute.

    sql: the statement; empty if the unit executes none. kind: the type of its last message.
    """

    data: bytes
    sql: str
    kind: str


@dataclass(slots=True)
class Units:
    """Puts a client's messages together into units, and knows the statements that it has prepared."""

    _statements: dict[bytes, str] = field(default_factory=dict)
    _portals: dict[bytes, str] = field(default_factory=dict)
    _parts: list[bytes] = field(default_factory=list)

    def add(self, message: bytes) -> Unit | None:
        """Take the next message; return the unit that it completes, if it does."""
        kind, body = chr(message[0]), message[5:]
        if kind == "P":
            name, prepared, *_ = body.split(b"\0", 2)
            self._statements[name] = prepared.decode(errors="replace")
        elif kind == "B":
            portal, statement, *_ = body.split(b"\0", 2)
            self._portals[portal] = self._statements.get(statement, "")
        if kind in "PBDCdcf":
            self._parts.append(message)
            return None
        sql = ""
        if kind == "E":
            sql = self._portals.get(body.split(b"\0", 1)[0], "")
        elif kind == "Q":
            sql = body.rstrip(b"\0").decode(errors="replace")
        parts, self._parts = [*self._parts, message], []
        return Unit(b"".join(parts), sql, kind)
