"""What a command prints of its runs when Ctrl-C or SIGTERM ends it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from duetime.cli.latest import link_latest
from duetime.errors import Interrupted
from duetime.shell_command import shell_command

if TYPE_CHECKING:
    from duetime.harness.runs.cell import Cell


@dataclass(slots=True, kw_only=True)
class SoFar:
    """What a command has done so far: `cells` of its `planned` runs, in `directory` once that was made.

    weaknesses: of each design, by its name.
    """

    planned: int
    weaknesses: Mapping[str, str]
    directory: Path | None = None
    cells: list[Cell] = field(default_factory=list)


@contextmanager
def printed_if_interrupted(so_far: SoFar, *, as_text: bool) -> Iterator[SoFar]:
    """Print which runs have finished if the body is interrupted, and let the interruption go on.

    as_text: print their table too; without it standard output stays empty, because half a file is worse than none.
    """
    try:
        yield so_far
    except (KeyboardInterrupt, SystemExit, Interrupted):
        # The terminal may be gone, and the exit status of an interruption tells more than that of a closed pipe.
        with suppress(OSError):
            _print(so_far, as_text=as_text)
        raise


def _print(so_far: SoFar, *, as_text: bool) -> None:
    from duetime.report.table import console, print_comparison

    directory = so_far.directory
    if directory is None:
        return
    cells = _finished(so_far, directory)
    kept = sum((cell.run_dir / "closed.json").exists() for cell in cells)
    if not kept:
        click.echo(f"duetime: none of {so_far.planned} runs had finished", err=True)
        return
    link_latest(directory)
    if as_text:
        print_comparison(console(), [cell.to_json() for cell in cells])
        click.echo()
    click.echo(f"duetime: {kept} of {so_far.planned} runs have finished, kept in {directory}/", err=True)
    click.echo(f"duetime: report on them: {shell_command('check', directory)}", err=True)


def _finished(so_far: SoFar, directory: Path) -> list[Cell]:
    """Return the cells so far, and those of runs beside an interrupted one, which were judged but not handed over."""
    from duetime.harness.runs.cell import stored_cell

    known = {cell.run_dir for cell in so_far.cells}
    # A run that was interrupted may have been judged as well, but it was never closed.
    others = [path.parent for path in sorted(directory.glob("*/*/closed.json")) if path.parent not in known]
    cells = [stored_cell(run_dir) for run_dir in others]
    return [*so_far.cells, *(replace(cell, weakness=so_far.weaknesses.get(cell.design, "")) for cell in cells)]
