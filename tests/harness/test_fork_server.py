"""Clients that are forks of one process: each with an environment, a directory and an exit status of its own."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from duetime.errors import HarnessError
from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.processes.cleanup import members
from duetime.harness.processes.client_process import ClientProcess
from duetime.harness.processes.fork_server import ForkedProcess, ForkServer, fork_server
from duetime.settings import Settings
from tests.eventually import assert_eventually

pytestmark = pytest.mark.processes


@pytest.fixture
def server(tempdir: Path) -> Iterator[ForkServer]:
    with fork_server(tempdir) as server:
        yield server


@contextmanager
def started(server: ForkServer, directory: Path, settings: Settings) -> Iterator[ForkedProcess]:
    """A client that is told nothing yet, killed at the end."""
    directory.mkdir()
    with (directory / "log").open("wb") as errors:
        environment = {**os.environ, **settings.environment()}
        client = server.start(directory=directory, environment=environment, errors=errors.fileno())
    with client.stdin, client.stdout:
        yield client
        if client.poll() is None:
            os.killpg(client.pid, signal.SIGKILL)
        client.wait()


def load(client: ForkedProcess, tmp_path: Path) -> bytes:
    """Let a client load its design; return what it prints then."""
    wanted = {"client": 0, "history": str(tmp_path / "history"), "faults": "", "old_heartbeats": [], "pooled": False}
    client.stdin.write(json.dumps(wanted).encode() + b"\n")
    client.stdin.flush()
    return client.stdout.readline()


def test_clients_have_their_own_environment_directory_and_group(
    server: ForkServer, settings: Settings, tmp_path: Path, tempdir: Path
) -> None:
    for name in ("push_readmodel", "oban_style_queue"):
        with started(server, tmp_path / name, replace(settings, design=name)) as client:
            assert load(client, tmp_path) == b"loaded\n"
            process = psutil.Process(client.pid)
            assert process.cwd() == str(tmp_path / name)
            assert os.getpgid(client.pid) == client.pid
            assert process in members(tempdir), "the clean-up after a run would not find it"


def test_an_orderly_end_has_the_status_0(server: ForkServer, settings: Settings, tmp_path: Path) -> None:
    with started(server, tmp_path / "client", replace(settings, design="reference")) as client:
        assert load(client, tmp_path) == b"loaded\n"
        assert client.poll() is None

        client.stdin.close()

        assert client.wait() == 0
        # The pipe closes a moment before the kernel removes the process.
        assert_eventually(lambda: not psutil.pid_exists(client.pid))


def test_a_failure_has_the_status_1_and_its_traceback_in_the_log(
    server: ForkServer, settings: Settings, tmp_path: Path
) -> None:
    with started(server, tmp_path / "client", replace(settings, design="no_such_design")) as client:
        assert load(client, tmp_path) == b""

        assert client.wait() == 1
        assert "no_such_design" in (tmp_path / "client" / "log").read_text()


def test_a_client_that_was_killed_at_once_has_a_status_although_it_says_nothing(
    server: ForkServer, settings: Settings, tmp_path: Path
) -> None:
    for number in range(20):
        with started(server, tmp_path / str(number), settings) as client:
            os.killpg(client.pid, signal.SIGKILL)

            assert client.wait() == client.poll() == -signal.SIGKILL


def test_a_client_needs_less_time_than_an_import(server: ForkServer, settings: Settings, tmp_path: Path) -> None:
    with started(server, tmp_path / "client", replace(settings, design="reference")) as client:
        load(client, tmp_path)

        times = psutil.Process(client.pid).cpu_times()
        # SQLAlchemy's import alone takes longer.
        assert times.user + times.system < 0.2


def test_a_design_in_a_folder_of_the_users_is_imported_by_a_process_of_its_own(
    server: ForkServer, settings: Settings, tmp_path: Path, tempdir: Path
) -> None:
    (tmp_path / "mine.py").write_text("from beside import design\n")
    (tmp_path / "beside.py").write_text("from duetime.reference import design\n")
    clients = [
        ClientProcess(
            number,
            [],
            settings=replace(settings, design=design),
            history=tmp_path / "history.jsonl",
            faults=tmp_path / "faults.jsonl",
            old_heartbeats=[],
            directory=tmp_path / f"client-{number}",
            log=tmp_path / f"client-{number}.log",
            tempdir=tempdir,
            fork_server=server,
        )
        for number, design in enumerate(("reference", f"{tmp_path / 'mine.py'}:design"))
    ]
    try:
        for client in clients:
            client.wait_ready(CancelToken())
        programs = [process.cmdline() for process in members(tempdir)]
        # The server and its fork have one command line, the other client has its own.
        assert sum("duetime.harness.processes.fork_server" in program for program in programs) == 2
        assert sum("duetime.harness.processes.client_main" in program for program in programs) == 1
    finally:
        for client in clients:
            client.stop()


def test_without_the_server_a_run_says_what_is_missing(settings: Settings, tmp_path: Path, tempdir: Path) -> None:
    with fork_server(tempdir) as server:
        [process] = [process for process in members(tempdir) if "fork_server" in " ".join(process.cmdline())]
        process.kill()
        assert_eventually(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)
        with (
            pytest.raises(HarnessError, match="the process that starts clients"),
            started(server, tmp_path / "client", settings),
        ):
            pass
