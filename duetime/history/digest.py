"""The line count and digest by which closed.json identifies a file."""

from __future__ import annotations

import hashlib
from pathlib import Path


def line_count_and_sha256(path: Path) -> tuple[int, str]:
    digest, count = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            count += block.count(b"\n")
    return count, digest.hexdigest()
