"""Durations, worker commands and applications, read from the command line."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import pytest

from duetime.errors import BadUsage
from duetime.lint.applications import load
from duetime.lint.commands import parse
from duetime.lint.durations import duration
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


@pytest.mark.parametrize(
    ("line", "hosts"),
    [("3x celery -A shop worker", 3), ("1× celery -A shop beat", 1), ("celery -A shop worker -Q x3", None)],
)
def test_the_number_of_hosts_stands_before_the_command(line: str, hosts: int | None) -> None:
    assert parse(line).hosts == hosts


@pytest.mark.parametrize(
    "line",
    [
        *("x3 celery worker", "*3 celery worker", "3 celery worker", "3 x celery worker", "0x celery worker"),
        *("1.5x celery beat", "-1x celery beat", "celery worker x3", "celery beat ×3", "celery worker -c 4 *3"),
    ],
)
def test_a_misspelled_number_of_hosts_is_refused(line: str) -> None:
    with pytest.raises(BadUsage, match=r"is not a number of hosts; write it before the command, .* '3x celery"):
        parse(line)


@pytest.mark.parametrize(
    "line",
    [
        "celery -A shop beat -S redbeat.RedBeatScheduler",
        "celery -A shop worker -B --scheduler redbeat.RedBeatScheduler",
    ],
)
def test_the_scheduler_of_a_beat_is_parsed_as_celery_parses_it(line: str) -> None:
    assert (parse(line).beat, parse(line).scheduler) == (True, "redbeat.RedBeatScheduler")


def test_a_command_belongs_to_the_target_that_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("lintshop", "lintmail"):
        (tmp_path / f"{name}.py").write_text(APP_FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    shop, mail = load(["lintshop:app", "lintmail:app"], [parse("celery -A lintshop worker")])

    assert ([c.app for c in shop.commands], list(mail.commands)) == (["lintshop"], [])
    with pytest.raises(BadUsage, match="starts 'other', which is none of lintshop:app"):
        load(["lintshop:app"], [parse("celery -A other worker")])
