"""The README's first ten minutes: its counts are computed, its table's commands run, its terms are linked."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from duetime import registry
from duetime.cli.main import cli
from duetime.harness.plan import catalogue, lookup
from tests.docs.pages import ROOT
from tests.docs.transcript import LESSONS

README = (ROOT / "README.md").read_text()
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
ROWS = re.findall(r"^\| ([^|]+) \| `\.venv/bin/duetime (run [^`]+)` \| ([^|]+) \|$", README, flags=re.MULTILINE)
COMMANDS = [command for _, command, _ in ROWS]


@pytest.mark.parametrize(
    "count",
    [
        f"{len(catalogue.FULL)} of the {len(catalogue.ALL)} scenarios",
        f"{WORDS[len(registry.default_designs())]} designs, {WORDS[len(catalogue.DEFAULT)]} scenarios",
        f"[{WORDS[len(LESSONS)]} lessons]",
    ],
)
def test_the_readme_counts_what_there_is(count: str) -> None:
    assert count in README


def test_the_readme_is_short_and_begins_with_the_incident() -> None:
    assert len(README.splitlines()) <= 170
    assert "was due during a deploy" in "\n".join(README.splitlines()[:4])


def test_each_symptom_has_a_command_that_names_what_exists() -> None:
    assert len(ROWS) >= 8
    for command in COMMANDS:
        name, *arguments = command.split()
        cli.commands[name].make_context(name, list(arguments))
        design, scenario = arguments
        registry.load(design)
        lookup.named(scenario)


@pytest.mark.runs
@pytest.mark.full
@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_of_a_symptom_runs_as_printed_and_shows_it(command: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [str(ROOT / ".venv/bin/duetime"), *command.split()], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert re.search(r"fails, as documented|BREAKS ITS GUARANTEE", done.stdout), done.stdout + done.stderr


@pytest.mark.parametrize("term", ["ETA", "designs", "faults", "missed", "duplicated", "window", "claim"])
def test_a_term_is_linked_at_its_first_use(term: str) -> None:
    prose = re.sub(r"```.*?```|`[^`]*`|(?<=\]\()[^)]*", "", README, flags=re.DOTALL)
    first = re.search(rf"\b{term}\b", prose)

    assert first
    assert re.match(r"\**\]\(", prose[first.end() :]), prose[first.start() - 40 : first.end() + 40]
