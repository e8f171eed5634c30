"""Reading a file that others still append to."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Line = tuple[int, Mapping[str, Any]]
"""A line's number, from 1, and its record."""

BLOCK = 1 << 16


class Tail:
    """The whole lines that were appended to a file since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self.lines = 0
        """That were read so far."""

    def read(self) -> Iterator[Line]:
        """One after another, so that a million of them need no room; what is not taken is there the next time."""
        with self._path.open("rb") as file:
            file.seek(self._at)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._at += len(line)
                self.lines += 1
                yield self.lines, json.loads(line)


def backwards(path: Path) -> Iterator[Mapping[str, Any]]:
    """The records of the whole lines of `path`, the last one first; reads no more of the file than is asked for."""
    with path.open("rb") as file:
        at, rest, ended = file.seek(0, os.SEEK_END), b"", False
        while at:
            size = min(BLOCK, at)
            at -= size
            file.seek(at)
            rest, *whole = (file.read(size) + rest).split(b"\n")
            if whole and not ended:
                # After the last newline there is nothing yet, or a line that is being written.
                whole.pop()
                ended = True
            yield from (json.loads(line) for line in reversed(whole))
        if ended and rest:
            yield json.loads(rest)
