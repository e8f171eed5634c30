"""Findings as text."""

from __future__ import annotations

import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import get_args

from duetime.lint.finding import Finding, Level
from duetime.shell_command import shell_command

WIDEST = 110
ORDER = get_args(Level)


def listed(names: Sequence[str], most: int = 3) -> str:
    """Join `names` with commas; only the first `most`, with the number of the others."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def lines(targets: Sequence[str], findings: Sequence[Finding]) -> Iterator[str]:
    """Return the lines of the text: for each target its name, then a paragraph for each finding, most severe first."""
    for target in targets:
        found = [finding for finding in findings if finding.target == target]
        warnings = sum(finding.level == "warning" for finding in found)
        limits = any(finding.level == "not judged" for finding in found) and not warnings
        hint = "; read what is not judged" if limits else ""
        yield f"{target}: {warnings or 'no'} {'warning' if warnings == 1 else 'warnings'}{hint}"
        for finding in sorted(found, key=lambda finding: ORDER.index(finding.level)):
            yield ""
            yield from _paragraph(finding)
        yield ""


def _paragraph(finding: Finding) -> Iterator[str]:
    if finding.level == "not judged":
        yield from _hanging("", finding.consequence, indent=2)
        return
    default = f" ({finding.library}'s default)" if finding.is_default else ""
    yield f"  {finding.level}: {finding.setting} = {finding.value}{default}"
    yield from _hanging("then", finding.consequence)
    yield from _hanging("fix", finding.fix)
    if finding.run:
        program, *arguments = finding.run
        yield f"    shown  {shell_command(*arguments) if program == 'duetime' else shlex.join(finding.run)}"
    elif finding.scenario:
        yield from _hanging("shown", f"scenario {finding.scenario}")
    if finding.see:
        yield from _hanging("see", ", ".join(finding.see))


def _hanging(label: str, text: str, indent: int = 11) -> list[str]:
    return textwrap.wrap(
        text,
        _width(),
        initial_indent=f"    {label:<7}"[:indent],
        subsequent_indent=" " * indent,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _width() -> int:
    return min(WIDEST, shutil.get_terminal_size().columns - 1) if sys.stdout.isatty() else WIDEST
