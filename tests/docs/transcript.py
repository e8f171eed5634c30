"""The commands of a lesson, what stands below them on its page, and what they say when they are run again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "lessons").glob("[0-9]*.md"))
BLOCK = re.compile(r"(?<=```console\n)(.*?)(?=```)", flags=re.DOTALL)
KEPT = re.compile(r"\bruns/[0-9]{8}-[0-9]{6}(?:-\d+)?")


@dataclass(frozen=True, slots=True)
class Step:
    """One command, and the lines that follow it."""

    command: str
    said: list[str]


def steps(page: Path) -> list[Step]:
    found: list[Step] = []
    for block in BLOCK.findall(page.read_text()):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append(Step(line[2:], []))
            else:
                found[-1].said.append(line)
    return found


def follow(page: Path, place: Path) -> list[Step]:
    """Type the commands of `page`, one after another, in `place`, which has the project's docs in it."""
    for room in ("docs", "tests", "duetime", "pull_worker", "push_readmodel", "oban_style_queue", "conftest.py"):
        (place / room).symlink_to(ROOT / room)
    again: list[Step] = []
    newest = ""
    for step in steps(page):
        # A page names the directory of the run that it shows; this is another run.
        command = KEPT.sub(newest, step.command) if newest else step.command
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=place,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=False,
        )
        # Where that was is nobody's business.
        said = [line.rstrip() for line in done.stdout.replace(str(place), "/…").strip("\n").splitlines()]
        again.append(Step(step.command, said))
        newest = next(iter(KEPT.findall(done.stdout)), newest)
    return again


def comparable(said: list[str]) -> str:
    """Without what every run has of its own.

    Numbers, how wide a column is, where a long line is broken; which of several notifications stands for all of them;
    and what else there was beside the first thing that is wrong.
    """
    text = KEPT.sub("runs/N", "\n".join(said))
    # After its counts, the explanation of a failed cell is about one notification, up to the known weakness.
    evidence = r"^( +\d+ [a-z]+)(?:, \d+ [a-z]+)*\. .*?(?=\n +Known weakness|\n\n|\Z)"
    text = re.sub(evidence, r"\1. EVIDENCE", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"\b(lost|stuck|late|early|phantom|stale|zombie|excused|recovered|indeterminate) \d+", "", text)
    text = re.sub(r"(?<= )-(?= )", "", text)
    # How many come twice is chance; that none does is the point.
    return " ".join(re.sub(r"(?!0 of them)[0-9][0-9.,:/-]*", "N", text).split())
