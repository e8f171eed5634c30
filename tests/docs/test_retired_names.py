"""Names that were replaced by standard terms do not come back, in code or in docs."""

from __future__ import annotations

import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, unfenced_lines

RETIRED = frozenset(
    """
    A_LOT BEGINNING BY_NAME Cast Doing Destination HandOver Hurtable Hurtables LOOKS Look Mortal NewSide
    NOBODY_LOOKS NotNow NotSeen ORACLE Owed Promise SERVERS_DIE Sign Site StopSignal Surroundings TIME_ITSELF
    Together Trouble USUAL Undertaking Waiting Wants Watcher
    _drum _felt _gets_on _patient _plainly _turn
    accusations beyond_s bites broker_keeps called_off come_by else_say excuses_nothing exists_for gathering
    hand_over hurt look may_leave mend on_the_tick promise promised resurrect struck swapped take_unless_changed
    takes_over_not teaches the_three told unkind_to unseen weigh why_not withdraw workplace
    """.split()  # noqa: SIM905 - a list of words to be read
)
"""Identifiers of Python code."""
RETIRED_FILES = frozenset(
    """
    applicable.py board.py borrowed.py cast.py conductor.py doubts.py hand_over.py hurting.py keeper.py literal.py
    measure.py metronome.py operating.py policy.py promises.py pulse.py servers.py showing.py shown.py site.py
    spans.py startline.py stopping.py uncollected.py visible.py
    """.split()  # noqa: SIM905 - a list of words to be read
)
RETIRED_WORDS = re.compile(
    r"unkind to|\bteaches\b|where it went|\bmends?\b|\bcalled off\b|\bDUETIME_SERVER\b|\{server\}"
)
"""Words of output, messages and docs."""
EXEMPT = {
    "CHANGELOG.md": "lists what was renamed",
    "duetime/history/format.py": "reads stored runs with the old names",
    "tests/docs/test_retired_names.py": "lists them",
}


def tracked(*patterns: str) -> list[Path]:
    """Return the tracked files that match `patterns`, without those that are exempt."""
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.splitlines() if name not in EXEMPT and (ROOT / name).is_file()]


def identifiers(source: str) -> set[str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.string for token in tokens if token.type == tokenize.NAME}


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Return the numbered lines of a file; of a page without its code blocks, which show output of the code."""
    return unfenced_lines(path) if path.suffix == ".md" else iter(enumerate(path.read_text().splitlines(), start=1))


def test_no_identifier_is_a_retired_name() -> None:
    found = {str(path.relative_to(ROOT)): identifiers(path.read_text()) & RETIRED for path in tracked("*.py")}

    assert {name: sorted(names) for name, names in found.items() if names} == {}


def test_no_file_has_a_retired_name() -> None:
    assert [str(path) for path in tracked() if path.name in RETIRED_FILES] == []


def test_no_page_or_message_has_a_retired_word() -> None:
    found = {
        f"{path.relative_to(ROOT)}:{number}": line.strip()
        for path in tracked("*.py", "*.md", "*.yml", "*.js", "*.html", "*.j2", "Makefile")
        for number, line in lines_of(path)
        if RETIRED_WORDS.search(line)
    }

    assert found == {}
