"""Both sources on disk, divided by key, so that memory holds a part of them at a time."""

from __future__ import annotations

import marshal
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Final
from zlib import crc32

PARTITIONS: Final = 128
"""Ten million rows are eighty thousand to a partition. Each is a file, of which a process may open a thousand."""
BUFFERED_ROWS: Final = 256


class Partitions:
    """Rows of one source, in files below `directory`. All rows of a key are in one partition, in their order."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._paths = [directory / str(number) for number in range(PARTITIONS)]

    def write(self, rows: Iterable[tuple[Any, ...]]) -> int:
        """Write all `rows`, whose first value is the key; return their number."""
        with ExitStack() as stack:
            files = [stack.enter_context(path.open("wb")) for path in self._paths]
            buffers: list[list[tuple[Any, ...]]] = [[] for _ in files]
            number = 0
            for row in rows:
                number += 1
                at = crc32(row[0].encode("utf-8", "surrogatepass")) % PARTITIONS
                buffer = buffers[at]
                buffer.append(tuple(row))
                if len(buffer) >= BUFFERED_ROWS:
                    _append(files[at], buffer)
            for file, buffer in zip(files, buffers, strict=True):
                _append(file, buffer)
        return number

    def read(self, number: int) -> Iterator[tuple[Any, ...]]:
        """Return the rows of partition `number`, and remove it."""
        with self._paths[number].open("rb") as file:
            while True:
                try:
                    # Our own files, in a directory that only this user can read.
                    yield from marshal.load(file)  # noqa: S302
                except EOFError:
                    break
        self._paths[number].unlink()


def _append(file: IO[bytes], buffer: list[tuple[Any, ...]]) -> None:
    if buffer:
        marshal.dump(buffer, file)
        buffer.clear()
