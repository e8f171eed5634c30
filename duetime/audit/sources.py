"""Rows of a file or of a query, one after another."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

from duetime.audit.columns import Wanted
from duetime.errors import BadUsage
from duetime.extras import MissingExtra

Row = tuple[int, Sequence[Any] | ValueError]
"""The number of a line or row, and the values in the order of the fields, None for a field without a column.

An error instead of the values, if the line cannot be read.
"""
FIRST_LINES: Final = 1000
"""Lines of JSON need not have the same names. The columns are those of the first lines, this many."""


@dataclass(frozen=True, slots=True)
class Source:
    """An open source. name: for evidence, as in ``name:line``. columns: the column of each field that has one.

    complete_until_ns: the instant of the snapshot that a query saw; None for a file.
    """

    name: str
    columns: Mapping[str, str]
    rows: Iterable[Row]
    complete_until_ns: int | None = None


@contextmanager
def open_file(path: Path, wanted: Wanted) -> Iterator[Source]:
    """Open a file by its ending: .csv, .jsonl or .ndjson, .parquet.

    Raises:
        BadUsage: it cannot be read, or lacks a column.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise BadUsage(f"--{wanted.what} {str(path)!r}: write a file that ends in {', '.join(READERS)}, or a query")
    with ExitStack() as stack:
        with _naming(path, wanted):
            source = stack.enter_context(reader(path, wanted))
        # The name of a file can be no text, which a page cannot hold.
        name = source.name.encode("utf-8", "backslashreplace").decode()
        yield replace(source, name=name, rows=_rows(source, path, wanted))


def _rows(source: Source, path: Path, wanted: Wanted) -> Iterator[Row]:
    with _naming(path, wanted):
        yield from source.rows


@contextmanager
def _naming(path: Path, wanted: Wanted) -> Iterator[None]:
    """Turn what reading a file raises into an error that names it."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise BadUsage(f"--{wanted.what}: {path}: not UTF-8 ({error.reason}); convert it with iconv") from error
    except OSError as error:
        raise BadUsage(f"--{wanted.what}: {path}: cannot be read ({error.strerror or error})") from error


@contextmanager
def _csv(path: Path, wanted: Wanted) -> Iterator[Source]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file, strict=True)
        try:
            header = [name.strip() for name in next(lines, [])]
        except csv.Error as error:
            raise BadUsage(f"--{wanted.what}: {path}: its header is no CSV ({error})") from error
        columns = wanted.resolve(header, str(path))
        at = [header.index(columns[one.name]) if one.name in columns else -1 for one in wanted.fields]
        yield Source(path.name, columns, _csv_rows(lines, at, len(header)))


def _csv_rows(lines: Any, at: Sequence[int], width: int) -> Iterator[Row]:
    # A missing column is index -1: the None that is put behind each row.
    pick: Callable[[list[Any]], Sequence[Any]] = itemgetter(*at)
    while True:
        try:
            for values in lines:
                if len(values) == width:
                    values.append(None)
                    yield lines.line_num, pick(values)
                elif values:
                    yield lines.line_num, ValueError(f"it has {len(values)} values, and the header has {width} names")
        except csv.Error as error:
            yield lines.line_num, ValueError(f"it is no CSV ({error})")
        else:
            return


@contextmanager
def _json_lines(path: Path, wanted: Wanted) -> Iterator[Source]:
    with path.open("rb") as file:
        records = _records(file)
        first = list(islice(records, FIRST_LINES))
        names = dict.fromkeys(name for _, record in first if isinstance(record, dict) for name in record)
        columns = dict(wanted.resolve(list(names), str(path)))
        yield Source(path.name, columns, _json_rows(chain(first, records), columns, wanted))


def _records(file: Iterable[bytes]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(file, start=1):
        if line.strip():
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                record = ValueError(f"it is no JSON ({error})")
            yield number, record


def _json_rows(records: Iterable[tuple[int, Any]], columns: dict[str, str], wanted: Wanted) -> Iterator[Row]:
    """The rows of `records`. A column that occurs only later is added to `columns`: the lines before it have none."""
    names = [columns.get(one.name) for one in wanted.fields]
    others = wanted.others(columns)
    for number, record in records:
        if not isinstance(record, dict):
            yield number, record if isinstance(record, ValueError) else ValueError("it is no JSON object")
            continue
        new = {others[name]: name for name in others if record.get(name) is not None}
        if "revision" in new:
            ignore = f"--{wanted.what}-columns revision="
            reason = f"it has a revision, and the first {FIRST_LINES:,} lines have none"
            yield number, ValueError(f"{reason}; write one in every line, or ignore them with {ignore}")
            continue
        if new:
            columns |= new
            names, others = [columns.get(one.name) for one in wanted.fields], wanted.others(columns)
        yield number, [None if name is None else record.get(name) for name in names]


@contextmanager
def _parquet(path: Path, wanted: Wanted) -> Iterator[Source]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise MissingExtra(f"reading {path.name}", "pyarrow", "parquet") from None
    path.open("rb").close()
    try:
        file = ParquetFile(path)
    except ArrowException as error:
        raise BadUsage(f"--{wanted.what}: {path}: no Parquet file ({error})") from error
    with file:
        columns = wanted.resolve(file.schema_arrow.names, str(path))
        yield Source(path.name, columns, enumerate(_parquet_rows(file, columns, wanted, path), start=1))


def _parquet_rows(file: Any, columns: Mapping[str, str], wanted: Wanted, path: Path) -> Iterator[Sequence[Any]]:
    from pyarrow import ArrowException

    names = [columns.get(one.name) for one in wanted.fields]
    try:
        for batch in file.iter_batches(batch_size=10_000, columns=list(dict.fromkeys(columns.values()))):
            empty = [None] * batch.num_rows
            yield from zip(*(empty if name is None else _values(batch.column(name)) for name in names), strict=True)
    except (ArrowException, ValueError, OverflowError) as error:
        # For instance a time after the year 9999, which no Python value can be.
        raise BadUsage(f"--{wanted.what}: {path}: a value cannot be read ({error})") from error


def _values(column: Any) -> list[Any]:
    """Python values; of timestamps without the nanoseconds, which ``datetime`` cannot hold."""
    import pyarrow

    if pyarrow.types.is_timestamp(column.type) and column.type.unit == "ns":
        column = column.cast(pyarrow.timestamp("us", tz=column.type.tz), safe=False)
    values: list[Any] = column.to_pylist()
    return values


READERS: Final = {".csv": _csv, ".jsonl": _json_lines, ".ndjson": _json_lines, ".parquet": _parquet}
