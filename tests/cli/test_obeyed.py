"""A deployed design obeys the user's environment, and says which of its variables count."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from duetime import registry
from duetime.cli.obeyed import CELERY, LIBPQ, PROCESS
from duetime.errors import BadUsage
from duetime.settings import Settings
from tests.cli.test_serve import DESIGN, NEEDED
from tests.commands import duetime

pytestmark = pytest.mark.processes

BROKER = NEEDED["DUETIME_BROKER_URL"]


def test_serve_ignores_another_broker_in_the_shell_and_names_what_it_obeys(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(DESIGN)
    shell = {
        "CELERY_BROKER_URL": "redis://:secret@elsewhere",
        "CELERY_BROKER_READ_URL": BROKER,
        "BROKER_URL": "redis://elsewhere",
        "PGOPTIONS": "-c statement_timeout=1s",
        "CELERY_WORKER_CONCURRENCY": "3",
        "TZ": "Europe/Berlin",
    }

    done = subprocess.run(
        [sys.executable, "-m", "duetime.cli", "serve", "mine.py:design", "--name", "s"],
        cwd=tmp_path,
        env={**os.environ, **NEEDED, **shell},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stderr.splitlines() == [
        "duetime: ignores BROKER_URL, CELERY_BROKER_URL: DUETIME_BROKER_URL names the broker",
        "duetime: obeys CELERY_WORKER_CONCURRENCY, PGOPTIONS, TZ from the environment",
    ]
    found = json.loads(done.stdout)[2]
    assert {name: found.get(name) for name in shell} == {
        **shell,
        **dict.fromkeys(("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "BROKER_URL")),
    }


def test_status_and_install_name_what_they_obey_and_nothing_else(settings: Settings) -> None:
    shell = {**settings.environment(), "PGAPPNAME": "mine", "CELERY_WORKER_CONCURRENCY": "3", "BROKER_URL": "redis://x"}
    said = (
        "duetime: ignores BROKER_URL: DUETIME_BROKER_URL names the broker\n"
        "duetime: obeys PGAPPNAME from the environment\n"
    )

    installed = duetime("install", "push_readmodel", **shell)
    printed = duetime("status", "push_readmodel", "--json", **shell)
    quiet = duetime("status", "push_readmodel", **settings.environment())

    assert (installed.returncode, installed.stderr) == (0, said)
    assert (printed.returncode, printed.stderr) == (0, said)
    assert json.loads(printed.stdout)["pending"] == 0
    assert quiet.stderr == ""


@pytest.mark.parametrize("name", ["CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"])
def test_a_process_that_was_not_started_by_duetime_refuses_another_broker(
    name: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = registry.load("oban_style_queue")
    monkeypatch.setenv(name, settings.broker_url)
    queue.scheduler(settings)

    monkeypatch.setenv(name, "redis://elsewhere")
    with pytest.raises(BadUsage, match=f"^{name} gives Celery another broker than DUETIME_BROKER_URL; unset it"):
        queue.scheduler(settings)


@pytest.mark.parametrize("name", ["pull_worker", "push_readmodel", "oban_style_queue:hardened"])
def test_neither_does_a_worker_of_any_design_start(name: str, settings: Settings, tmp_path: Path) -> None:
    argv = registry.load(name).roles[0].argv
    command = [part.replace("{worker}", "s").replace("{state}", str(tmp_path)) for part in argv]

    done = subprocess.run(
        command,
        # The variable of Celery's option --broker.
        env={**os.environ, **settings.environment(), "BROKER_URL": "redis://127.0.0.1:1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,  # a worker that starts does not end
    )

    assert done.returncode != 0
    assert "gives Celery another broker than DUETIME_BROKER_URL" in done.stderr


@pytest.mark.parametrize(
    ("kind", "obeyed", "others"),
    [
        (LIBPQ, ["PGHOSTADDR", "PGSSLROOTCERT", "PGTZ", "PGGSSENCMODE"], ["PGDATA", "PGP_KEY", "MYPGHOST"]),
        (CELERY, ["CELERY_CONFIG_MODULE", "KOMBU_LOG_DEBUG", "LOADER"], ["MY_LOADER", "CELERY"]),
        (PROCESS, ["PYTHONPATH", "LC_ALL", "TZ"], ["PYTHONUNBUFFERED", "PYTHON_VERSION", "LANG", "TZDIR"]),
    ],
)
def test_only_variables_that_change_something_are_named(
    kind: re.Pattern[str], obeyed: list[str], others: list[str]
) -> None:
    assert [name for name in [*obeyed, *others] if kind.fullmatch(name)] == obeyed
