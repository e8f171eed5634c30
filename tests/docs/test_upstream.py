"""Each report for upstream reproduces what it says, in the library's own environment."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from duetime import contenders, registry
from duetime.contenders import ROOT, lines_of
from duetime.settings import Settings

REPORTS = sorted(path for path in (ROOT / "docs" / "upstream").glob("*.md") if path.name != "README.md")
README = (ROOT / "docs" / "upstream" / "README.md").read_text()


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.processes
@pytest.mark.parametrize("report", REPORTS, ids=lambda path: path.stem)
def test_a_report_reproduces_what_it_says(report: Path, settings: Settings) -> None:
    if missing := contenders.missing(report.stem):
        pytest.skip(f"{report.stem}: {missing}")
    [program], [printed] = blocks(report.read_text(), "python"), blocks(report.read_text(), "text")

    contender = registry.load(f"{contenders.PREFIX}{report.stem}").contender
    assert contender

    done = subprocess.run(
        [contender.python, "-c", program],
        env={"PATH": os.environ["PATH"], **contender.environment(settings.database_url, settings.broker_url)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.stdout == printed, done.stderr


@pytest.mark.parametrize("report", REPORTS, ids=lambda path: path.stem)
def test_a_report_is_listed_and_names_the_version_that_runs(report: Path) -> None:
    page = report.read_text()
    version = next(line.partition("==")[2] for line in lines_of(contenders.folder(report.stem) / "requirements.txt"))

    assert f"]({report.name})" in README
    assert version in page.splitlines()[2]
    assert "## Cause, and a fix" in page
