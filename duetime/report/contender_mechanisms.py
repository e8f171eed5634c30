"""Why contenders fail: the paragraphs of their READMEs, and the failing cells that each explains.

A paragraph of *What fails here, and why* begins with the mechanism in bold and the cells that it explains::

    **It looks for due jobs every 5 s.** `calm`, `downtime` of `default`: late. There is no notification at the due
    time: `procrastinate/worker.py:64`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from duetime import contenders
from duetime.checker import VIOLATIONS
from duetime.errors import BadUsage, UnknownName
from duetime.pages import FILES
from duetime.report.mechanism import Mechanism

SECTION = re.compile(r"^## What fails here, and why\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
MECHANISM = re.compile(r"\*\*(?P<title>[^*]+)\*\* (?P<cells>`[^.:]+: [a-z_, ]+(?:; `[^.:]+: [a-z_, ]+)*)\. (?P<why>.+)")
CELLS = re.compile(
    r"(?P<scenarios>`[\w*]+`(?:(?:, | and )`[\w*]+`)*)(?: of `(?P<variant>\w+)`)?: (?P<kinds>[a-z_, ]+)$"
)
SOURCE = re.compile(r"`[\w./@-]+\.[a-z]+:\d+(?:-\d+)?`|\[[^]]+\]\(https?://[^)]+\)")
DEFAULT_VARIANT = "default"
"""How a README names the defaults, beside `tuned`."""
TUNED = "tuned"
PARTS_OF_MISSED = ("lost", "stuck", "failed")
"""Where a missed notification is: in no store, in one, or in one that does not try it again."""
KINDS = {*VIOLATIONS, *PARTS_OF_MISSED}
EXAMPLE = "**It looks for due jobs every 5 s.** `calm`, `downtime`: late. Explanation, `library/worker.py:64`."


@dataclass(frozen=True, slots=True)
class Explained:
    """Cells that a mechanism explains: patterns of scenarios, a variant or every one, and kinds of violations."""

    scenarios: tuple[str, ...]
    variant: str | None
    kinds: frozenset[str]

    def covers(self, scenario: str, variant: str, kind: str) -> bool:
        return (
            self.variant in (None, variant)
            and kind in self.kinds
            and any(fnmatchcase(scenario, pattern) for pattern in self.scenarios)
        )


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Why a contender fails. sources: lines of the library, or addresses of its documentation, as Markdown."""

    contender: str
    title: str
    explained: tuple[Explained, ...]
    sources: tuple[str, ...]

    def covers(self, scenario: str, variant: str, kind: str) -> bool:
        """Return True if it explains violations of `kind` in `scenario`; `missed` explains its parts too."""
        kinds = {kind, "missed"} if kind in PARTS_OF_MISSED else {kind}
        return any(explained.covers(scenario, variant, each) for explained in self.explained for each in kinds)


def paragraphs(readme: Path) -> list[Paragraph]:
    """Return the mechanisms in a contender's README; none if it has no such section.

    Raises:
        BadUsage: a paragraph of the section cannot be read, with what to write instead.
    """
    section = SECTION.search(readme.read_text())
    texts = [" ".join(text.split()) for text in section[1].split("\n\n")] if section else []
    return list(_paragraphs(readme, [text for text in texts if text.startswith("**")]))


@cache
def mechanisms_of_contender(design: str) -> Sequence[Mechanism]:
    """Return the mechanisms of the design ``contender:NAME`` or ``contender:NAME:tuned``.

    There are none for another design, and none without a README that can be read: a wheel has no contenders.
    """
    if not design.startswith(contenders.PREFIX):
        return []
    name, _, variant = design.removeprefix(contenders.PREFIX).partition(":")
    try:
        found = paragraphs(contenders.folder(name) / "README.md")
    except (UnknownName, BadUsage, OSError):
        return []
    return [
        _mechanism(design, paragraph, explained)
        for paragraph in found
        for explained in paragraph.explained
        if explained.variant in (None, variant or DEFAULT_VARIANT)
    ]


def _mechanism(design: str, paragraph: Paragraph, explained: Explained) -> Mechanism:
    links = [source.partition("](")[2].removesuffix(")") for source in paragraph.sources if source.startswith("[")]
    line = next((source.strip("`") for source in paragraph.sources if source.startswith("`")), "")
    cause = paragraph.title[:1].lower() + paragraph.title[1:].removesuffix(".")
    return Mechanism(
        designs=[design],
        scenarios=explained.scenarios,
        labels=sorted(explained.kinds),
        cause=f"{cause} ({line})" if line else cause,
        upstream=links[0] if links else "",
        better=f"{design}:{TUNED}" if explained.variant == DEFAULT_VARIANT else "",
        page=f"{FILES}/contenders/{paragraph.contender}/README.md#what-fails-here-and-why",
    )


def _paragraphs(readme: Path, texts: list[str]) -> Iterator[Paragraph]:
    for text in texts:
        found = MECHANISM.match(text)
        if found is None:
            raise BadUsage(f"{readme}: cannot read {text[:90]!r}; write a paragraph like {EXAMPLE}")
        explained = tuple(_explained(readme, part) for part in found["cells"].split("; "))
        sources = tuple(dict.fromkeys(SOURCE.findall(found["why"])))
        if not sources:
            raise BadUsage(
                f"{readme}: {found['title']!r} names no source; add `file.py:line` of the library, or a link"
            )
        yield Paragraph(readme.parent.name, found["title"], explained, sources)


def _explained(readme: Path, text: str) -> Explained:
    found = CELLS.match(text)
    kinds = frozenset(re.split(r", | and ", found["kinds"])) if found else frozenset()
    if found is None or not kinds <= KINDS:
        wrong = ", ".join(sorted(kinds - KINDS)) or text
        raise BadUsage(f"{readme}: {wrong!r} is none of {', '.join(sorted(KINDS))}; write a paragraph like {EXAMPLE}")
    return Explained(tuple(re.findall(r"`([\w*]+)`", found["scenarios"])), found["variant"], kinds)
