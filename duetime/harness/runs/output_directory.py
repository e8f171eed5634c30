"""The directory of one command, below which the directories of its runs are made."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from duetime.errors import BadUsage


def new_directory(out: Path) -> Path:
    """Create a directory below `out`, named after the current time."""
    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    for suffix in ("", *(f"-{number}" for number in range(2, 100))):
        directory = out / f"{stamp}{suffix}"
        try:
            directory.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise BadUsage(f"--out {str(out)!r}: cannot create {str(directory)!r} ({error.strerror})") from error
        return directory
    raise BadUsage(f"--out {str(out)!r}: 99 runs were started in this second; try again")
