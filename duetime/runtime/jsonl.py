"""JSON and JSON Lines files that stay whole when a process that writes them is killed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

# Created once: json.dumps creates an encoder at each call with other separators than the default.
_COMPACT = json.JSONEncoder(separators=(",", ":"))


class JsonLinesWriter:
    """Appends records to a JSON Lines file that other processes may append to at the same time.

    Each record is one ``write(2)`` on an ``O_APPEND`` descriptor, so lines of different processes never mix, and a
    killed process has written all of a line or nothing.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def append(self, record: Mapping[str, object]) -> None:
        """Write `record` as one line.

        Raises:
            OSError: the line is incomplete; the file can no longer be trusted.
        """
        self._write(f"{_COMPACT.encode(record)}\n")

    def append_line(self, line: str) -> None:
        """Write `line`: a record in JSON, without line breaks.

        Raises:
            OSError: the line is incomplete; the file can no longer be trusted.
        """
        self._write(f"{line}\n")

    def append_all(self, records: Iterable[Mapping[str, object]]) -> None:
        """Write `records` in one ``write(2)``, a line each.

        Raises:
            OSError: the lines are incomplete; the file can no longer be trusted.
        """
        self._write("".join(f"{_COMPACT.encode(record)}\n" for record in records))

    def close(self) -> None:
        os.close(self._descriptor)

    def _write(self, text: str) -> None:
        lines = text.encode()
        if os.write(self._descriptor, lines) != len(lines):
            raise OSError(f"short write: fewer than {len(lines)} bytes of records were written")


def append_once(path: Path, record: Mapping[str, object]) -> None:
    """Append one line to a file that is written rarely."""
    writer = JsonLinesWriter(path)
    writer.append(record)
    writer.close()


def write_at_once(path: Path, record: Mapping[str, object]) -> None:
    """Make `record` the contents of `path`; another process reads all of it or what was there before."""
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(record))
    draft.replace(path)


def complete_records(path: Path, *, from_byte: int = 0) -> list[dict[str, Any]]:
    """Return the records of `path` from a byte on; not the last one while a process writes it."""
    with path.open("rb") as file:
        file.seek(from_byte)
        *complete, _ = file.read().split(b"\n")
    return [json.loads(line) for line in complete]
