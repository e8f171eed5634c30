"""`duetime serve` replaces itself by the worker; wrong arguments are refused before that."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from duetime.harness.processes.services import Endpoints
from duetime.shell_command import shell_command
from tests.commands import duetime

DESIGN = """
import json, os, sys
from duetime.interface import Design, Guarantees, Role

PRINT = "import json, os, sys; print(json.dumps([os.getpid(), sys.argv[1:], dict(os.environ)]))"
design = Design(
    name="mine", summary="", weakness="",
    guarantees=Guarantees(delivery="nothing", transactional=True, cancels=True),
    roles=[
        Role(name=name, argv=(sys.executable, "-c", PRINT, name, "{worker}", "{state}", "{nats}"), ready="")
        for name in "ab"
    ],
    install=lambda engine: None, scheduler=lambda settings: None, pending=lambda settings, engine: [],
)
"""
NEEDED = {"DUETIME_DATABASE_URL": "postgresql://localhost/x", "DUETIME_BROKER_URL": "redis://localhost/0"}

NATS = {"DUETIME_SERVICE_NATS": "nats://localhost"}


@pytest.fixture
def mine(tmp_path: Path) -> str:
    """A design whose processes print their pid, arguments and environment, and exit."""
    file = tmp_path / "mine.py"
    file.write_text(DESIGN)
    return f"{file}:design"


@pytest.mark.parametrize(("more", "role"), [([], "a"), (["--role", "b"], "b")])
def test_the_process_is_replaced_by_the_designs_own_command(
    mine: str, more: list[str], role: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "duetime.cli", "serve", mine, "--name", "s-7", *more]
    (tmp_path / "state" / "mine" / "s-7").mkdir(parents=True)
    (tmp_path / "state" / "mine" / "s-7" / "heartbeat").write_text("of an earlier worker")
    with subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, **NEEDED, "DUETIME_WATCHED": "yes", **NATS}, stdout=subprocess.PIPE
    ) as process:
        pid, arguments, environment = json.loads(process.communicate(timeout=30)[0])

    directory = tmp_path / "state" / "mine" / "s-7"
    assert pid == process.pid
    assert arguments == [role, "s-7", str(directory), "nats://localhost"]
    assert environment["DUETIME_DESIGN"] == mine
    assert environment["DUETIME_WORKER"] == "s-7"
    assert environment["DUETIME_WATCHED"] == "yes"
    assert environment["DUETIME_HEARTBEAT"] == str(directory / "heartbeat")
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["push_readmodle"], NEEDED, "Did you mean 'push_readmodel'?"),
        (["push_readmodel"], {}, "DUETIME_DATABASE_URL is not set"),
        (["push_readmodel", "--name", "a b"], NEEDED, "write letters, digits"),
        (["push_readmodel", "--role", "beat"], NEEDED, "push_readmodel has worker"),
        (["push_readmodel", "--state", "/proc"], NEEDED, "cannot write below it"),
        (["push_readmodel"], NEEDED | {"DUETIME_MAX_ATTEMPTS": "-1"}, "write a number from 0 to 1000"),
        (["push_readmodel:delete_first"], NEEDED | {"DUETIME_THREADS": "two"}, "DUETIME_THREADS is 'two'; write"),
    ],
)
def test_wrong_arguments_are_refused_in_a_sentence(
    arguments: list[str], environment: dict[str, str], message: str
) -> None:
    done = duetime("serve", *arguments, **environment)

    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_worker_without_its_table_ends_with_a_reason(endpoints: Endpoints, tmp_path: Path) -> None:
    done = duetime(
        *("serve", "push_readmodel", "--state", str(tmp_path)),
        DUETIME_DATABASE_URL=endpoints.database_url,
        DUETIME_BROKER_URL=endpoints.broker_url,
        DUETIME_DELIVERIES=str(tmp_path / "deliveries.jsonl"),
    )

    assert done.returncode == 70, done.stderr
    assert f"create it with `{shell_command('install', 'push_readmodel')}`" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_worker_that_was_never_started_is_unhealthy_and_an_unknown_design_is_bad_usage(tmp_path: Path) -> None:
    never = duetime("health", "push_readmodel", "--name", "s-7", "--state", str(tmp_path))
    unknown = duetime("health", "push_readmodle")

    assert (never.returncode, never.stdout) == (1, "s-7 of push_readmodel has written no heartbeat yet\n")
    assert unknown.returncode == 2
    assert "Did you mean 'push_readmodel'?" in unknown.stderr


def test_the_command_line_imports_no_driver_and_no_broker_until_a_command_needs_one() -> None:
    load = (
        "import sys, duetime.cli.main; print(*sorted({'sqlalchemy', 'psycopg', 'redis', 'celery'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", load], capture_output=True, text=True, check=True)

    assert done.stdout == "\n"
