"""Appending to files so that a killed process leaves whole lines."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

# Made once: json.dumps makes one for each call that asks for other separators than its own.
_COMPACT = json.JSONEncoder(separators=(",", ":"))


class Journal:
    """A JSON Lines file that many processes may append to at once.

    Each record is one ``write(2)`` on an ``O_APPEND`` descriptor: lines of different processes never mix, and
    whoever is killed has written all of a line or nothing.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def append(self, record: Mapping[str, object]) -> None:
        """Write `record` as one line.

        Raises:
            OSError: the line was not written whole; the history can no longer be trusted.
        """
        self._write(f"{_COMPACT.encode(record)}\n")

    def append_line(self, written: str) -> None:
        """Write `written`, a record in JSON without line breaks."""
        self._write(f"{written}\n")

    def append_all(self, records: Iterable[Mapping[str, object]]) -> None:
        """Write a line for each of `records`, next to each other and all at once.

        Raises:
            OSError: they were not written whole; the history can no longer be trusted.
        """
        self._write("".join(f"{_COMPACT.encode(record)}\n" for record in records))

    def close(self) -> None:
        os.close(self._descriptor)

    def _write(self, text: str) -> None:
        lines = text.encode()
        if os.write(self._descriptor, lines) != len(lines):
            raise OSError(f"short write of {len(lines)} bytes of records")


def append_once(path: Path, record: Mapping[str, object]) -> None:
    """Write one line to a file that is seldom written to."""
    journal = Journal(path)
    journal.append(record)
    journal.close()
