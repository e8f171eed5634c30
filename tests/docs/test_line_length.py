"""Markdown is wrapped at 100 columns, except in tables, code blocks and lines that are one long link."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import LINK, ROOT, pages, prose_lines

LONGEST = 100


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", pages(), ids=named)
def test_no_line_of_prose_is_longer_than_100_columns(page: Path) -> None:
    long = [number for number, line in prose_lines(page) if len(line) > LONGEST and not is_one_link(line)]

    assert not long, f"{named(page)}: wrap lines {long} at {LONGEST} columns"


def is_one_link(line: str) -> bool:
    """Return True if nothing but list marks and punctuation stands beside the links of `line`."""
    return len(LINK.findall(line)) == 1 and not LINK.sub("", line).strip(" -*.,;:>")
