"""``runs/latest``: a link to the newest run directory, wherever a command takes the directory of a run."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

LATEST = "latest"
STAMP = re.compile(r"(\d{8}-\d{6})(?:-(\d+))?")
"""A directory that `new_directory` made."""


def link_latest(directory: Path) -> Path:
    """Let ``latest`` beside `directory` lead to it, and return `directory`.

    Does nothing where the file system has no links, or another file has the name.

    The link is replaced at once, so that of two commands that end together one sets it, and a reader always finds it.
    """
    link, draft = directory.with_name(LATEST), directory.with_name(f".{LATEST}-{directory.name}")
    if link.exists() and not link.is_symlink():
        return directory
    with suppress(OSError):
        try:
            # Relative, so that it still leads there when the directory of all runs is moved.
            draft.symlink_to(directory.name)
            draft.replace(link)
        finally:
            draft.unlink(missing_ok=True)
    return directory


def without_latest(path: Path) -> Path:
    """Return `path` with the name of the run directory where it has the link, which leads to another one tomorrow.

    Where there is no link, or what it led to was removed, ``latest`` is the newest directory that is there.
    """
    for link in (path, *path.parents):
        if link.name == LATEST and (link.is_symlink() or not link.exists()):
            target = link.parent / link.readlink() if link.is_symlink() else None
            newest = target if target and target.exists() else _newest_in(link.parent)
            return newest / path.relative_to(link) if newest else path
    return path


def _newest_in(out: Path) -> Path | None:
    named = [(found[1], int(found[2] or 1), path) for path in out.glob("*") if (found := STAMP.fullmatch(path.name))]
    return max(named)[-1] if named else None


class RunPath(click.Path):
    """A directory of runs, or a file in one; ``latest`` stands for the newest."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return without_latest(Path(str(super().convert(value, param, ctx))))
