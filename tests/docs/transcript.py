"""The commands of a lesson with the output on its page, and the output that they print when they run again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.docs.pages import ROOT

LESSONS = sorted((ROOT / "docs" / "lessons").glob("[0-9]*.md"))
CONSOLE_BLOCK = re.compile(r"(?<=```console\n)(.*?)(?=```)", flags=re.DOTALL)
RUN_DIRECTORY = re.compile(r"\bruns/[0-9]{8}-[0-9]{6}(?:-\d+)?")
LINKED = ("docs", "tests", "duetime", "pull_worker", "push_readmodel", "oban_style_queue", "conftest.py")


@dataclass(frozen=True, slots=True)
class Step:
    """One command and the lines of its output."""

    command: str
    output: list[str]


def steps(page: Path) -> list[Step]:
    """Return the steps that stand on `page`."""
    found: list[Step] = []
    for block in CONSOLE_BLOCK.findall(page.read_text()):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append(Step(line[2:], []))
            else:
                found[-1].output.append(line)
    return found


def follow(page: Path, directory: Path) -> list[Step]:
    """Run the commands of `page` in `directory`, one after another, and return them as run, with their output."""
    for name in LINKED:
        (directory / name).symlink_to(ROOT / name)
    done: list[Step] = []
    newest_run = ""
    for step in steps(page):
        # The page names the directory of the run that it shows; this is another run.
        command = RUN_DIRECTORY.sub(newest_run, step.command) if newest_run else step.command
        output = run_in_shell(command, directory)
        done.append(Step(command, [line.rstrip() for line in output.strip("\n").splitlines()]))
        newest_run = next(iter(RUN_DIRECTORY.findall(output)), newest_run)
    return done


def run_in_shell(command: str, directory: Path) -> str:
    """Return what `command` prints, with the name of `directory` shortened to ``/…``."""
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=directory,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    return done.stdout.replace(str(directory), "/…")


def comparable(output: list[str]) -> str:
    """Return `output` without what differs from run to run.

    That is numbers, widths of columns, line breaks, the notification that serves as evidence, and further violations
    of the same run.
    """
    text = RUN_DIRECTORY.sub("runs/N", "\n".join(output))
    # Of a design's conclusion, of what has one cause, and of its evidence, only the gravest kind stays.
    text = re.sub(r"(missed \d+|lost nothing) of \d+.*?(?=, as |, which |; |$)", r"\1", text, flags=re.MULTILINE)
    text = re.sub(r"^(\S+: \w+) [^;]*;", r"\1;", text, flags=re.MULTILINE)
    text = re.sub(r"^  log: .*?\n(?=  \w)", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^  example: .*?(?=\n  \w)", "  example: EVIDENCE", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"\b(lost|stuck|late|early|phantom|stale|zombie|excused|recovered|indeterminate) \d+", "", text)
    text = re.sub(r"(?<= )-(?= )", "", text)
    # How many are duplicated is chance; that none is, is the lesson.
    return " ".join(re.sub(r"(?!0 of them)[0-9][0-9.,:/-]*", "N", text).split())
