"""Findings as people read them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from duetime.lint.finding import Finding

WIDTH = 110


def lines(targets: Sequence[str], findings: Sequence[Finding]) -> Iterator[str]:
    """One paragraph a finding, under the name of its target; warnings first."""
    for target in targets:
        own = [finding for finding in findings if finding.target == target]
        warnings = sum(finding.level == "warning" for finding in own)
        yield f"{target}: {warnings or 'no'} {'warning' if warnings == 1 else 'warnings'}"
        for finding in sorted(own, key=lambda finding: finding.level != "warning"):
            yield ""
            yield from _paragraph(finding)
        yield ""


def _paragraph(finding: Finding) -> Iterator[str]:
    default = " (Celery's default)" if finding.is_default else ""
    yield f"  {finding.level}: {finding.setting} = {finding.value}{default}"
    yield from _hanging("then", finding.consequence)
    yield from _hanging("mend", finding.fix)
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
