"""The page about CI: its workflows are valid, its commands exist, its figures are those of the rule."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from duetime.cli.main import cli
from duetime.cli.output import FORMATS
from duetime.report.baseline import ALPHA, fisher
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "ci.md").read_text()
WORKFLOWS = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.parametrize(
    ("number", "schema"),
    [(0, "vendor.github-workflows"), (0, "custom.github-workflows-require-timeout"), (1, "vendor.gitlab-ci")],
)
def test_each_workflow_is_valid(tmp_path: Path, number: int, schema: str) -> None:
    (tmp_path / "workflow.yml").write_text(WORKFLOWS[number])
    checker = str(Path(sys.executable).with_name("check-jsonschema"))

    done = subprocess.run(
        [checker, "--builtin-schema", schema, str(tmp_path / "workflow.yml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr


def commands() -> Iterator[str]:
    yield from re.findall(r"duetime (?:compare|check|run)[^|>`\n]*", "\n".join(WORKFLOWS))
    yield from re.findall(r"^\$ (duetime .*)$", PAGE, flags=re.MULTILINE)


@pytest.mark.parametrize("command", [*commands()])
def test_each_command_has_only_options_that_there_are(command: str) -> None:
    _, name, *arguments = shlex.split(command)

    # Parsed, and not invoked.
    assert isinstance(cli.commands[name].make_context(name, arguments), click.Context)


def test_it_lists_each_format() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE) == list(FORMATS)


def fewest(runs: int, limit: float) -> int:
    return next(bad for bad in range(1, runs + 1) if fisher(bad, runs, 0, runs) <= limit)


def test_the_figures_are_those_of_the_rule() -> None:
    rows = [tuple(map(int, row)) for row in re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \|$", PAGE, flags=re.MULTILINE)]

    assert rows == [(runs, fewest(runs, ALPHA), fewest(runs, ALPHA / 12)) for runs in (5, 10, 20)]
