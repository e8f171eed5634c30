"""What README and docs tell people to type exists, and every page they point to does."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from duetime.cli.main import cli

ROOT = Path(__file__).parents[2]
PAGES = [path for path in [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md")] if path.is_file()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_shown_is_one_that_duetime_understands(page: Path) -> None:
    for line in re.findall(r"^\$ duetime (.+)$", page.read_text(), flags=re.MULTILINE):
        name, *arguments = re.split(r" #| \| | 2>", line)[0].split()
        command = cli.commands[name]
        if "--help" in arguments:
            continue
        command.make_context(name, arguments)  # raises on an unknown option or a missing argument


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_shown_is_in_the_makefile(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))

    assert set(re.findall(r"^\$ make ([a-z-]+)", page.read_text(), flags=re.MULTILINE)) <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_page_pointed_to_is_there(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_help_of_every_command_teaches() -> None:
    for command in cli.commands.values():
        assert len(command.get_help(click.Context(command)).splitlines()) > 5
