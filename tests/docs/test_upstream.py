"""Each report for upstream reproduces what it says, in the library's own environment.

A report is called after its contender, or after that and its subject: ``saq.md``, ``saq-sigterm.md``.
Those of Celery and kombu, ``celery-…``, run in this project's environment.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from duetime import contenders, registry
from duetime.contenders import ROOT, lines_of
from duetime.settings import Settings
from tests.each_contender import mark

FOLDER = ROOT / "docs" / "upstream"
REPORTS = sorted(path.stem for path in FOLDER.glob("*.md") if path.name != "README.md")
README = (FOLDER / "README.md").read_text()


def library(report: str) -> str:
    return report.partition("-")[0]


def is_node(report: str) -> bool:
    return library(report) != "celery" and (contenders.folder(library(report)) / "package.json").exists()


def interpreter_and_environment(report: str, settings: Settings) -> tuple[str, dict[str, str]]:
    servers = settings.database_url, settings.broker_url
    if library(report) == "celery":
        return sys.executable, dict(zip(("DATABASE_URL", "REDIS_URL"), servers, strict=True))
    contender = registry.load(f"{contenders.PREFIX}{library(report)}").contender
    assert contender
    return "node" if is_node(report) else contender.python, contender.environment(*servers)


def version(report: str) -> str:
    """The version that the environment pins or has."""
    if library(report) == "celery":
        return importlib.metadata.version("celery")
    if is_node(report):
        [version] = json.loads((contenders.folder(library(report)) / "package.json").read_text())[
            "dependencies"
        ].values()
        return str(version)
    lines = lines_of(contenders.folder(library(report)) / "requirements.txt")
    return next(line.partition("==")[2] for line in lines)


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.processes
@pytest.mark.parametrize("name", [pytest.param(name, marks=mark(library(name))) for name in REPORTS])
def test_a_report_reproduces_what_it_says(name: str, settings: Settings, tmp_path: Path) -> None:
    if library(name) != "celery" and (missing := contenders.missing(library(name))):
        pytest.skip(f"{name}: {missing}")
    report = (FOLDER / f"{name}.md").read_text()
    [program] = blocks(report, "javascript" if is_node(name) else "python")
    [printed] = blocks(report, "text")

    # From a file, as a reader runs it: a library that spawns processes imports it again.
    file = "report.js" if is_node(name) else "report.py"
    (tmp_path / file).write_text(program)
    interpreter, environment = interpreter_and_environment(name, settings)
    with subprocess.Popen(
        [interpreter, file],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            stdout, stderr = process.communicate(timeout=60)
        finally:
            # Workers that it forked run on if what it waits for does not come.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    assert stdout == printed, stderr


INSTALLED = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"


@pytest.mark.processes
@pytest.mark.parametrize("name", [pytest.param(name, marks=mark(library(name))) for name in REPORTS])
def test_a_report_installs_the_versions_that_reproduce_it(name: str, settings: Settings) -> None:
    if library(name) != "celery" and (missing := contenders.missing(library(name))):
        pytest.skip(f"{name}: {missing}")
    page = (FOLDER / f"{name}.md").read_text()
    if is_node(name):
        assert f"$ npm install {library(name).replace('_', '-')}@{version(name)}\n" in page
        return
    commands = "".join(re.findall(r"^\$ pip install .*", page, re.MULTILINE))
    pinned = dict(re.findall(r'"([\w-]+)(?:\[\w+\])?==([^"]+)"', commands))

    python, _ = interpreter_and_environment(name, settings)
    installed = subprocess.run([python, "-c", INSTALLED, *pinned], capture_output=True, text=True, check=True)

    assert pinned or name == "pgqueuer-typer"  # it fails with a version of typer that the environment avoids
    assert installed.stdout.split() == list(pinned.values())


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_is_listed_and_names_the_version_that_runs(name: str) -> None:
    page = (FOLDER / f"{name}.md").read_text()

    assert f"]({name}.md)" in README
    assert version(name) in page.splitlines()[2]
    assert "## Cause, and a fix" in page
