"""Each report for upstream reproduces what it says, in the library's own environment."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from duetime import contenders, registry
from duetime.contenders import ROOT, lines_of
from duetime.settings import Settings
from tests.each_contender import each_contender

FOLDER = ROOT / "docs" / "upstream"
REPORTS = sorted(path.stem for path in FOLDER.glob("*.md") if path.name != "README.md")
README = (FOLDER / "README.md").read_text()


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.processes
@pytest.mark.parametrize("name", each_contender(REPORTS))
def test_a_report_reproduces_what_it_says(name: str, settings: Settings) -> None:
    if missing := contenders.missing(name):
        pytest.skip(f"{name}: {missing}")
    report = (FOLDER / f"{name}.md").read_text()
    [program], [printed] = blocks(report, "python"), blocks(report, "text")

    contender = registry.load(f"{contenders.PREFIX}{name}").contender
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


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_is_listed_and_names_the_version_that_runs(name: str) -> None:
    page = (FOLDER / f"{name}.md").read_text()
    version = next(line.partition("==")[2] for line in lines_of(contenders.folder(name) / "requirements.txt"))

    assert f"]({name}.md)" in README
    assert version in page.splitlines()[2]
    assert "## Cause, and a fix" in page
