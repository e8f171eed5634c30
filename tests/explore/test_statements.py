"""Which statements are steps, what they are called, and how messages are put together."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from duetime.explore.statements import BEGINS, ENDS, EVERYTHING, UNDOES, label_of, touched
from duetime.explore.wire import Messages, Observation, Units, asks_for_encryption, sqlstate
from push_readmodel.guards import INSPECT
from push_readmodel.scheduler import UPSERT
from push_readmodel.statements import CLAIM

TABLES = ["pending_notifications", "jobs"]


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("BEGIN", set()),
        ("begin isolation level read committed", set()),
        ("SET LOCAL lock_timeout = '200ms'", set()),
        ("SET CONSTRAINTS ALL IMMEDIATE", {EVERYTHING}),
        ("SAVEPOINT effect", set()),
        ("SELECT pg_catalog.version()", set()),
        ("select current_schema()", set()),
        (INSPECT, set()),
        ("SELECT to_regclass('jobs') IS NOT NULL", set()),
        (CLAIM, {"pending_notifications"}),
        (str(UPSERT), {"pending_notifications", "NOTIFY"}),
        ("SELECT 'jobs' FROM pending_notifications", {"pending_notifications"}),
        ("DELETE FROM jobs -- of pending_notifications", {"jobs"}),
        ("SELECT pg_try_advisory_lock(1)", {"advisory lock"}),
        ("SELECT set_up()", {EVERYTHING}),
        ("CALL drain()", {EVERYTHING}),
    ],
)
def test_what_a_statement_touches(sql: str, tables: set[str]) -> None:
    assert touched(sql, TABLES) == tables


@pytest.mark.parametrize(
    ("sql", "label"),
    [
        (CLAIM, "SELECT pending_notifications … SKIP LOCKED"),
        (str(UPSERT), "INSERT INTO pending_notifications"),
        ("DELETE FROM jobs\n WHERE id = 1", "DELETE FROM jobs"),
        ("COMMIT", "COMMIT"),
        ("UPDATE jobs SET a = 1 WHERE id = (SELECT id FROM jobs FOR UPDATE SKIP LOCKED)", "UPDATE jobs … SKIP LOCKED"),
        ("SELECT * FROM jobs FOR UPDATE", "SELECT jobs … FOR UPDATE"),
    ],
)
def test_a_statement_in_a_few_words(sql: str, label: str) -> None:
    assert label_of(sql) == label


@pytest.mark.parametrize(
    ("sql", "begins", "ends", "undoes"),
    [
        ("BEGIN", True, False, False),
        ("COMMIT", False, True, False),
        ("rollback", False, True, False),
        ("ROLLBACK TO SAVEPOINT a", False, False, True),
        ("ROLLBACK WORK TO a", False, False, True),
        ("SELECT 1", False, False, False),
    ],
)
def test_where_a_transaction_begins_and_ends(sql: str, begins: bool, ends: bool, undoes: bool) -> None:
    assert [bool(each.match(sql)) for each in (BEGINS, ENDS, UNDOES)] == [begins, ends, undoes]


def message(kind: str, body: bytes) -> bytes:
    return kind.encode() + struct.pack("!I", len(body) + 4) + body


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_messages_are_found_wherever_the_stream_is_cut(size: int) -> None:
    sent = [message("Q", b"BEGIN\0"), message("S", b""), message("d", b"x" * 50)]
    messages = Messages()

    assert [each for piece in pieces(b"".join(sent), size) for each in messages.feed(piece)] == sent


def test_the_first_message_of_a_client_has_no_type() -> None:
    ssl = struct.pack("!II", 8, 80877103)
    [found] = Messages(typed=False).feed(ssl)

    assert asks_for_encryption(found)


def test_a_pipeline_is_cut_into_its_statements() -> None:
    units = Units()
    sent = [
        message("P", b"s1\0DELETE FROM jobs\0\0\0"), message("B", b"\0s1\0\0\0\0\0\0\0"), message("D", b"P\0"),
        message("E", b"\0\0\0\0\0"),
        message("B", b"\0s2\0\0\0\0\0\0\0"), message("E", b"\0\0\0\0\0"),
        message("S", b""),
    ]  # fmt: skip
    units.add(message("P", b"s2\0COMMIT\0\0\0"))
    units.add(message("S", b""))

    found = [unit for each in sent if (unit := units.add(each))]

    assert [(unit.kind, unit.sql) for unit in found] == [("E", "DELETE FROM jobs"), ("E", "COMMIT"), ("S", "")]
    assert b"".join(unit.data for unit in found) == b"".join(sent)


def described(*types: int) -> bytes:
    columns = b"".join(b"c\0" + struct.pack("!IHIHIH", 0, 0, oid, 8, 0, 0) for oid in types)
    return message("T", struct.pack("!H", len(types)) + columns)


def row(*values: bytes | None) -> bytes:
    fields = b"".join(struct.pack("!i", -1) if v is None else struct.pack("!i", len(v)) + v for v in values)
    return message("D", struct.pack("!H", len(values)) + fields)


TEXT, TIMESTAMPTZ = 25, 1184


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (row(b"k", b"12:01"), True),
        (row(b"m", b"12:00"), False),
        (row(None, b"12:00"), False),
    ],
)
def test_what_a_clock_decides_makes_no_difference(other: bytes, same: bool) -> None:
    def digest(data: bytes) -> str:
        seen = Observation()
        for each in (described(TEXT, TIMESTAMPTZ), data, message("C", b"SELECT 1\0")):
            seen.add(each)
        return seen.digest()

    assert (digest(row(b"k", b"12:00")) == digest(other)) == same


def test_the_sqlstate_of_an_error() -> None:
    assert sqlstate(message("E", b"SERROR\0C55P03\0Mcanceling statement\0\0")) == "55P03"
