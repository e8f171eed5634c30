"""The table at the end of ``pytest benchmarks/``: each question with its figures and conclusions."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from textwrap import wrap

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

NARROWEST, WIDEST = 40, 100


@dataclass
class Answer:
    """What one benchmark found. columns: the first names the rows, the others have their units."""

    question: str
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[object]] = ()
    conclusions: list[str] = field(default_factory=list)


def answers_text(answers: Iterable[Answer], *, size: str, width: int) -> str:
    """Return one table for all `answers`, at most `width` columns wide: long headings and cells go on below.

    Of the size quick without the conclusions, whose ratios would be chance.
    """
    width = min(max(width, NARROWEST), WIDEST)
    console = Console(file=io.StringIO(), width=width, color_system=None, highlight=False)
    for answer in answers:
        if answer.rows or answer.conclusions:
            console.print(answer.question, markup=False)
            if answer.rows:
                console.print(Padding(_table(answer), (0, 0, 0, 2), expand=False))
            for sentence in answer.conclusions if size != "quick" else ():
                indented = wrap(f"-> {sentence}", width, initial_indent="  ", subsequent_indent="     ")
                console.print("\n".join(indented), markup=False)
            console.print()
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def size_text(size: str) -> str:
    """Return what the figures of this size are worth."""
    return {
        "quick": "size quick: NO MEASUREMENT. It only shows that the benchmarks run; the figures are of one short "
        "round. To measure: pytest benchmarks/",
        "default": "size default: a first impression, mostly of one round. docs/performance.md has the size full, "
        "from make performance",
        "full": "size full: the median of the rounds, as in docs/performance.md",
    }[size]


def _table(answer: Answer) -> Table:
    table = Table(box=None, pad_edge=False, show_edge=False)
    for number, name in enumerate(answer.columns):
        table.add_column(escape(name), justify="right" if number else "left", vertical="bottom", overflow="fold")
    for row in answer.rows:
        table.add_row(*(escape(_shown(value)) for value in row))
    return table


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)
