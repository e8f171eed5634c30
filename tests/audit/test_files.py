"""Sources that are files: formats, columns, bad rows, hashed keys, memory."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from duetime.audit import audit, key_hash
from duetime.audit.partitions import Partitions
from duetime.errors import BadUsage
from tests.audit.small import (
    DELIVERED_COLUMNS,
    PROMISED_COLUMNS,
    at,
    audited,
    promise,
    reasons,
    request,
    violations,
    write,
)

PROMISES = [promise(), promise("l", due=300), promise("first", due=0, accepted=-60), promise("last", due=1000)]
DELIVERIES = [["first", 1, at(0)], ["k", 1, at(100)], ["last", 1, at(1000)]]


def json_lines(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Path:
    records = [{name: value or None for name, value in zip(columns, row, strict=True)} for row in rows]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def parquet(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Path:
    arrow = pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    table = pytest.importorskip("pyarrow.parquet")
    values = {name: [row[number] or None for row in rows] for number, name in enumerate(columns)}
    times = {name for name in columns if name not in ("key", "revision")}
    arrays: Mapping[str, Any] = {
        name: arrow.array([None if one is None else one for one in some]).cast(arrow.timestamp("ns", tz="UTC"))
        if name in times
        else arrow.array(some)
        for name, some in values.items()
    }
    table.write_table(arrow.table(arrays), path)
    return path


@pytest.mark.parametrize(
    ("writer", "ending"), [(write, "csv"), (json_lines, "jsonl"), (json_lines, "ndjson"), (parquet, "parquet")]
)
def test_every_format_gives_the_same_verdict(writer: Any, ending: str, tmp_path: Path) -> None:
    promised = writer(tmp_path / f"promised.{ending}", PROMISED_COLUMNS, PROMISES)
    delivered = writer(tmp_path / f"delivered.{ending}", DELIVERED_COLUMNS, DELIVERIES)

    report = audit(request(str(promised), str(delivered)))

    assert violations(report) == {"missed": 1}
    assert [one.key for one in report.examples()["missed"]] == ["l"]
    number = 3 if ending == "csv" else 2
    assert report.examples()["missed"][0].evidence == (f"promised.{ending}:{number}",)


def test_columns_can_have_other_names(tmp_path: Path) -> None:
    promised = write(tmp_path / "p.csv", ("id", "nr", "run_at", "inserted_at", "cancelled_at"), PROMISES)
    delivered = write(tmp_path / "d.csv", ("id", "nr", "sent"), DELIVERIES)

    report = audit(
        request(
            str(promised),
            str(delivered),
            promised_columns="key=id,revision=nr,due=run_at,accepted_at=inserted_at",
            delivered_columns="key=id, revision=nr, at=sent",
        )
    )

    assert violations(report) == {"missed": 1}


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ("", r"has no column 'due'; it has key, revision, when.*--promised-columns due=COLUMN"),
        ("due=wenn", r"has no column 'wenn'; it has key, revision, when"),
        ("due", r"--promised-columns 'due': write field=column"),
        ("dua=when", r"--promised-columns 'dua=when'.*fields: key, revision, due, accepted_at, cancelled_at"),
    ],
)
def test_a_missing_column_is_named_with_the_fix(columns: str, says: str, tmp_path: Path) -> None:
    promised = write(tmp_path / "p.csv", ("key", "revision", "when"), [])
    delivered = write(tmp_path / "d.csv", DELIVERED_COLUMNS, DELIVERIES)

    with pytest.raises(BadUsage, match=says):
        audit(request(str(promised), str(delivered), promised_columns=columns))


BAD = [
    (["", 1, at(100), at(50), ""], "key is empty"),
    (["b", "one", at(100), at(50), ""], "revision 'one' is no whole number"),
    (["b", 1, "soon", at(50), ""], "due 'soon' is no time"),
    (["b", 1, at(100)[:-6], at(50), ""], "due '2026-03-10 12:01:40' has no time zone; .*--zone"),
    (["b", 1, "", at(50), ""], "due is empty"),
    (["b", 1], "it has 2 values, and the header has 5 names"),
]


@pytest.mark.parametrize(("row", "says"), BAD)
def test_a_bad_row_is_named_by_file_and_line(row: list[Any], says: str, tmp_path: Path) -> None:
    promised = write(tmp_path / "promised.csv", PROMISED_COLUMNS, [*PROMISES, row])
    delivered = write(tmp_path / "delivered.csv", DELIVERED_COLUMNS, DELIVERIES)

    with pytest.raises(BadUsage, match=rf"1 bad row; .*--skip-bad-rows:\n  promised.csv:6: {says}"):
        audit(request(str(promised), str(delivered)))


def test_many_bad_rows_are_counted_and_the_first_ones_named(tmp_path: Path) -> None:
    delivered = write(tmp_path / "delivered.csv", DELIVERED_COLUMNS, [["k", 1, "x"]] * 30)
    promised = write(tmp_path / "promised.csv", PROMISED_COLUMNS, PROMISES)

    with pytest.raises(BadUsage, match="30 bad rows") as error:
        audit(request(str(promised), str(delivered)))

    assert len(re.findall("delivered.csv:", str(error.value))) == 10
    assert "and 20 more" in str(error.value)


def test_a_skipped_row_proves_nothing_about_its_key_and_does_not_concern_others(tmp_path: Path) -> None:
    promises = [promise(), promise("l", due=300)]

    report = audited(tmp_path, [*promises], [("k", "?", 100)], skip_bad_rows=True)

    assert report.delivered.bad == 1
    assert [one.key for one in report.examples()["missed"]] == ["l"]
    assert reasons(report) == {"promises bad rows": 1}


def test_a_skipped_row_without_key_proves_nothing_about_all(tmp_path: Path) -> None:
    report = audited(tmp_path, [promise()], [("", 1, 100)], skip_bad_rows=True)

    assert report.outcome == "unknown"


@pytest.mark.parametrize("source", ["promised", "delivered"])
def test_an_audit_that_skips_a_row_never_passes(source: str, tmp_path: Path) -> None:
    bad = [promise("bad", due=None)] if source == "promised" else [("bad", "?", 100)]

    report = audited(
        tmp_path,
        [promise(), *(bad if source == "promised" else [])],
        [("k", 1, 100), *(bad if source == "delivered" else [])],
        skip_bad_rows=True,
    )

    assert (report.outcome, report.unknown_because) == ("unknown", ["1 bad row was skipped and not judged"])


def sparse(tmp_path: Path, field: str, value: object) -> Path:
    """Promises as JSON lines, of which only the last one has `field`."""
    records: list[dict[str, object]] = [
        {"key": f"k{number}", "due": at(100), "accepted_at": at(50)} for number in range(1001)
    ]
    records[-1][field] = value
    path = tmp_path / "promised.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_a_json_field_may_first_occur_in_a_late_line(tmp_path: Path) -> None:
    promised = sparse(tmp_path, "cancelled_at", at(60))
    delivered = write(tmp_path / "d.csv", ["key", "at"], [[f"k{number}", at(100)] for number in range(1001)])

    report = audit(request(str(promised), str(delivered), terms={"assumed": frozenset({"complete"})}))

    assert report.promised.columns["cancelled_at"] == "cancelled_at"
    assert violations(report) == {"phantom": 1}


def test_a_late_json_line_cannot_begin_to_number_the_revisions(tmp_path: Path) -> None:
    promised, delivered = sparse(tmp_path, "revision", 2), write(tmp_path / "d.csv", ["key", "at"], [["k1", at(100)]])

    with pytest.raises(BadUsage, match=r"promised.jsonl:1001: it has a revision, and .* --promised-columns revision="):
        audit(request(str(promised), str(delivered)))

    ignored = audit(request(str(promised), str(delivered), promised_columns="revision="))
    assert "revision" not in ignored.promised.columns


def test_hashed_keys_match_and_are_not_shown(tmp_path: Path) -> None:
    report = audited(tmp_path, [promise("ada@example.org"), promise("l")], [("l", 1, 100)], rename=key_hash(b"s"))

    assert violations(report) == {"missed": 1}
    assert report.examples()["missed"][0].key == key_hash(b"s")("ada@example.org")
    assert key_hash(b"s")("ada@example.org") != key_hash(b"t")("ada@example.org")
    assert "ada" not in json.dumps(report.to_json())


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing.csv", "cannot be read .No such file"),
        ("promised.xlsx", r"write a file that ends in .csv, .jsonl, .ndjson, .parquet, or a query"),
        ("select 1 as key", "name its database with --database"),
        ("missing.sql", "cannot be read"),
    ],
)
def test_a_source_that_cannot_be_read_is_refused(name: str, says: str, tmp_path: Path) -> None:
    delivered = write(tmp_path / "d.csv", DELIVERED_COLUMNS, DELIVERIES)

    with pytest.raises(BadUsage, match=says):
        audit(request(name if " " in name else str(tmp_path / name), str(delivered)))


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    promised = tmp_path / "p.csv"
    promised.write_bytes("key,due\nmüller,1773144000\n".encode("latin-1"))

    with pytest.raises(BadUsage, match="not UTF-8"):
        audit(request(str(promised), str(write(tmp_path / "d.csv", DELIVERED_COLUMNS, DELIVERIES))))


@pytest.mark.parametrize("source", ["promised", "delivered"])
def test_a_late_byte_in_another_encoding_is_blamed_on_its_own_file(source: str, tmp_path: Path) -> None:
    promised = write(tmp_path / "promised.csv", PROMISED_COLUMNS, [promise(f"k{number}") for number in range(5000)])
    delivered = write(tmp_path / "delivered.csv", DELIVERED_COLUMNS, [["k", 1, at(100)]] * 5000)
    with (tmp_path / f"{source}.csv").open("ab") as file:
        file.write("müller,1,1773144000,,\n".encode("latin-1"))

    with pytest.raises(BadUsage, match=rf"^--{source}: .*{source}.csv: not UTF-8"):
        audit(request(str(promised), str(delivered)))


def test_a_header_that_is_no_csv_is_refused(tmp_path: Path) -> None:
    promised, delivered = tmp_path / "p.csv", write(tmp_path / "d.csv", DELIVERED_COLUMNS, DELIVERIES)
    promised.write_text('key,"due"x\nk,1773144000\n')

    with pytest.raises(BadUsage, match=r"^--promised: .*p.csv: its header is no CSV \("):
        audit(request(str(promised), str(delivered)))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            r'{"key": "a\ud800", "revision": 1, "at": 1773144000}',
            r"key 'a\\ud800' is no text \(half of a surrogate pair\)",
        ),
        ("[" * 200_000, "it is no JSON .*recursion"),
        ('{"key": "a", "at": %s}' % ("9" * 5000), "it is no JSON"),
    ],
)
def test_json_that_cannot_be_read_is_a_bad_row(line: str, says: str, tmp_path: Path) -> None:
    delivered = tmp_path / "d.jsonl"
    delivered.write_text(f'{{"key": "k", "revision": 1, "at": "{at(100)}"}}\n{line}\n')
    promised = write(tmp_path / "p.csv", PROMISED_COLUMNS, PROMISES)

    with pytest.raises(BadUsage, match=rf"1 bad row; .*\n  d.jsonl:2: {says}"):
        audit(request(str(promised), str(delivered)))


def test_a_file_name_that_is_no_text_is_shown_escaped(tmp_path: Path) -> None:
    promised = write(tmp_path / "p.csv", PROMISED_COLUMNS, PROMISES)
    delivered = write(tmp_path / os.fsdecode(b"d\xff.csv"), DELIVERED_COLUMNS, DELIVERIES)

    assert audit(request(str(promised), str(delivered))).delivered.name == r"d\udcff.csv"


def test_a_parquet_file_that_is_torn_is_named(tmp_path: Path) -> None:
    rows = [[f"k{number}" * 20, 1, at(100)] for number in range(20_000)]
    delivered = parquet(tmp_path / "d.parquet", DELIVERED_COLUMNS, rows)
    content = bytearray(delivered.read_bytes())
    content[1000:20_000] = b"\xff" * 19_000
    delivered.write_bytes(content)
    promised = write(tmp_path / "p.csv", PROMISED_COLUMNS, PROMISES)

    with pytest.raises(BadUsage, match=r"^--delivered: .*d.parquet: "):
        audit(request(str(promised), str(delivered)))


def test_a_parquet_time_that_python_cannot_hold_is_named(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    at_never = arrow.array([2**62], arrow.int64()).cast(arrow.timestamp("us", tz="UTC"))
    pytest.importorskip("pyarrow.parquet").write_table(
        arrow.table({"key": ["k"], "at": at_never}), tmp_path / "d.parquet"
    )
    promised = write(tmp_path / "p.csv", PROMISED_COLUMNS, PROMISES)

    with pytest.raises(BadUsage, match=r"^--delivered: .*d.parquet: a value cannot be read \("):
        audit(request(str(promised), str(tmp_path / "d.parquet")))


def test_the_rows_of_a_key_stay_together_and_in_order(tmp_path: Path) -> None:
    partitions = Partitions(tmp_path / "rows")
    written = [(f"key {number % 700}", number) for number in range(70_000)]

    number = partitions.write(iter(written))
    read = [list(partitions.read(at)) for at in range(128)]

    assert number == 70_000
    assert sorted(row for part in read for row in part) == sorted(written)
    assert max(map(len, read)) < 3000
    for part in read:
        assert [row for row in part if row[0] == "key 5"] in ([], [row for row in written if row[0] == "key 5"])
    assert list((tmp_path / "rows").iterdir()) == []
