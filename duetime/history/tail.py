"""Read a file while other processes append to it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from duetime.history.parse import parse_line

Line = tuple[int, Mapping[str, Any]]
"""A line's number, from 1, and its record."""

BLOCK = 1 << 16


class Tail:
    """Reads the complete lines appended to a file since the last read. lines: the number of lines read so far."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self.lines = 0

    def read(self) -> Iterator[Line]:
        """Yield the new lines one by one, to save memory; the next read continues after the last line yielded."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                self.lines += 1
                yield self.lines, parse_line(line.decode())


def backwards(path: Path) -> Iterator[Mapping[str, Any]]:
    """The records of the complete lines of `path`, the last first; reads only the part of the file that is consumed."""
    with path.open("rb") as file:
        offset, rest, newline_seen = file.seek(0, os.SEEK_END), b"", False
        while offset:
            size = min(BLOCK, offset)
            offset -= size
            file.seek(offset)
            rest, *complete = (file.read(size) + rest).split(b"\n")
            if complete and not newline_seen:
                # The text after the last newline is empty, or a line that is being written.
                complete.pop()
                newline_seen = True
            yield from (json.loads(line) for line in reversed(complete))
        if newline_seen and rest:
            yield json.loads(rest)
