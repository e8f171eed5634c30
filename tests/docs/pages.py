"""The pages of the project: its Markdown files, and their lines of prose."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^\s*```")
LINK = re.compile(r"!?\[[^]]*\]\([^)]*\)")


def pages() -> list[Path]:
    """Every Markdown file of the project, without what is installed, stored or ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    names = listed.stdout.split("\n") if listed.returncode == 0 else _found_without_git()
    return sorted(ROOT / name for name in names if name and (ROOT / name).is_file())


def _found_without_git() -> list[str]:
    patterns = ("*.md", "docs/**/*.md", "*/README.md")
    return [str(path.relative_to(ROOT)) for pattern in patterns for path in ROOT.glob(pattern)]


def prose_lines(page: Path) -> Iterator[tuple[int, str]]:
    """The numbered lines of `page` outside code blocks and tables."""
    fenced = False
    for number, line in enumerate(page.read_text().splitlines(), start=1):
        if FENCE.match(line):
            fenced = not fenced
        elif not fenced and not line.lstrip().startswith("|"):
            yield number, line
