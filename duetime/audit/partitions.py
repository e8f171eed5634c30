"""Both sources on disk, divided by key, so that memory holds a part of them at a time."""

from __future__ import annotations

import marshal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final
from zlib import crc32

PARTITIONS: Final = 128
"""Ten million rows are eighty thousand to a partition."""
BUFFERED_ROWS: Final = 500
LENGTH_BYTES: Final = 8


class Partitions:
    """Rows of one source, in files below `directory`. All rows of a key are in one partition, in their order."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._paths = [directory / str(number) for number in range(PARTITIONS)]

    def write(self, rows: Iterable[tuple[Any, ...]]) -> int:
        """Write all `rows`, whose first value is the key; return their number."""
        buffers: list[list[tuple[Any, ...]]] = [[] for _ in self._paths]
        number = 0
        for row in rows:
            number += 1
            at = crc32(row[0].encode("utf-8", "surrogatepass")) % PARTITIONS
            buffer = buffers[at]
            buffer.append(tuple(row))
            if len(buffer) >= BUFFERED_ROWS:
                _append(self._paths[at], buffer)
        for path, buffer in zip(self._paths, buffers, strict=True):
            if buffer:
                _append(path, buffer)
        return number

    def read(self, number: int) -> Iterator[tuple[Any, ...]]:
        """Return the rows of partition `number`, and remove it."""
        path = self._paths[number]
        if not path.exists():
            return
        content, at = memoryview(path.read_bytes()), 0
        path.unlink()
        while at < len(content):
            end = at + LENGTH_BYTES + int.from_bytes(content[at : at + LENGTH_BYTES])
            # Our own file, in a directory that only this user can read.
            yield from marshal.loads(content[at + LENGTH_BYTES : end])  # noqa: S302
            at = end


def _append(path: Path, buffer: list[tuple[Any, ...]]) -> None:
    # marshal.load() from a file reads byte by byte, so the length of each part is written before it.
    part = marshal.dumps(buffer)
    with path.open("ab") as file:
        file.write(len(part).to_bytes(LENGTH_BYTES))
        file.write(part)
    buffer.clear()
