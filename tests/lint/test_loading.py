"""Durations, worker commands and applications, read from the command line."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import pytest

from duetime.errors import BadUsage
from duetime.lint import duration, load, parse
from tests.lint.apps import APP_FILE


@pytest.mark.parametrize(
    ("text", "length"),
    [("90s", 90), ("10m", 600), ("48h", 172800), ("14d", 1209600), ("1.5h", 5400), ("0s", 0)],
)
def test_a_duration_is_a_number_and_a_unit(text: str, length: float) -> None:
    assert duration("--horizon", text) == timedelta(seconds=length)


@pytest.mark.parametrize("text", ["", "soon", "-1d", "10", "5w", "1e9d", "٣d", f"{10**10}d", "9" * 400 + "d"])
def test_a_bad_duration_is_refused(text: str) -> None:
    with pytest.raises(BadUsage, match=r"^--horizon "):
        duration("--horizon", text)


@pytest.mark.parametrize(
    "line",
    [
        "celery -A worker worker --beat -S state --without-mingle",
        "python -m celery --app=worker worker -l INFO -Bc 4 -Sstate --without-mingle --of-a-plugin",
        "/srv/venv/bin/celery -q -A worker worker -P threads --without-mingle --statedb state -B",
    ],
)
def test_a_worker_command_is_parsed_as_celery_parses_it(line: str) -> None:
    command = parse(line)

    assert (command.app, command.beat, command.statedb, command.mingles) == ("worker", True, "state", False)


@pytest.mark.parametrize("line", ["", "python worker.py", "celery", "celery -A shop flower", "celery -A", "celery 'a"])
def test_a_command_that_starts_no_worker_is_refused(line: str) -> None:
    with pytest.raises(BadUsage, match="not the command of a worker"):
        parse(line)


def test_a_command_belongs_to_the_target_that_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("lintshop", "lintmail"):
        (tmp_path / f"{name}.py").write_text(APP_FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    shop, mail = load(["lintshop:app", "lintmail:app"], [parse("celery -A lintshop worker")])

    assert ([c.app for c in shop.commands], list(mail.commands)) == (["lintshop"], [])
    with pytest.raises(BadUsage, match="starts 'other', which is none of lintshop:app"):
        load(["lintshop:app"], [parse("celery -A other worker")])
