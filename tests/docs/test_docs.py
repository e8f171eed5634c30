"""The commands, make targets and links of README and docs exist."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from duetime.cli.main import cli
from duetime.harness.plan import catalogue
from duetime.report.mechanisms import MECHANISMS
from tests.docs.pages import ROOT, pages, prose_lines

ROOMS = "benchmarks|docs|duetime|examples|oban_style_queue|pull_worker|push_readmodel|tests"
PAGES = pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))


@PAGES
def test_every_duetime_command_shown_is_valid(page: Path) -> None:
    for line in re.findall(r"^\$ duetime (.+)$", page.read_text(), flags=re.MULTILINE):
        name, *arguments = re.split(r" #| \| | 2>", line)[0].split()
        command = cli.commands[name]
        if "--help" in arguments:
            continue
        command.make_context(name, arguments)  # raises on an unknown option or a missing argument


@PAGES
def test_every_make_target_shown_is_in_the_makefile(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))

    assert set(re.findall(r"^\$ make ([a-z-]+)", page.read_text(), flags=re.MULTILINE)) <= targets


@PAGES
def test_every_file_named_in_prose_exists(page: Path) -> None:
    named = re.findall(rf"`((?:{ROOMS})/[\w/.-]+)`", "\n".join(line for _, line in prose_lines(page)))

    assert [name for name in named if not (ROOT / name).exists()] == []


@PAGES
def test_every_linked_file_exists(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_command_has_a_help_text() -> None:
    for command in cli.commands.values():
        assert len(command.get_help(click.Context(command)).splitlines()) > 5


def test_the_findings_count_the_scenarios() -> None:
    findings = (ROOT / "docs" / "findings.md").read_text()

    assert f"of the {len(catalogue.ALL)} scenarios" in findings


def test_each_mechanism_that_a_report_links_to_has_its_anchor_in_the_findings() -> None:
    findings = (ROOT / "docs" / "findings.md").read_text()

    assert [one.cause for one in MECHANISMS if f'<a id="{one.section}"></a>' not in findings] == []
