"""Findings as text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from duetime.lint.finding import Finding

WIDTH = 110


def lines(targets: Sequence[str], findings: Sequence[Finding]) -> Iterator[str]:
    """Return the lines of the text: for each target its name, then a paragraph for each finding, warnings first."""
    for target in targets:
        found = [finding for finding in findings if finding.target == target]
        warnings = sum(finding.level == "warning" for finding in found)
        yield f"{target}: {warnings or 'no'} {'warning' if warnings == 1 else 'warnings'}"
        for finding in sorted(found, key=lambda finding: finding.level != "warning"):
            yield ""
            yield from _paragraph(finding)
        yield ""


def _paragraph(finding: Finding) -> Iterator[str]:
    default = " (Celery's default)" if finding.is_default else ""
    yield f"  {finding.level}: {finding.setting} = {finding.value}{default}"
    yield from _hanging("then", finding.consequence)
    yield from _hanging("fix", finding.fix)
    if finding.scenario:
        yield from _hanging("shown", f"scenario {finding.scenario}")
    if finding.see:
        yield from _hanging("see", ", ".join(finding.see))


def _hanging(label: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=f"    {label:<7}",
        subsequent_indent=" " * 11,
        break_on_hyphens=False,
        break_long_words=False,
    )
