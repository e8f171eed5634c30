"""What all interleavings of one exploration share: PostgreSQL, the stepping proxy, and the warm process."""

from __future__ import annotations

import json
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import psycopg
from sqlalchemy import Engine, create_engine

from duetime.errors import HarnessError
from duetime.explore.drain_once import drains_of
from duetime.explore.participant_main import settings_of
from duetime.harness.processes.cleanup import owner_env
from duetime.harness.processes.environment import composed_for_design
from duetime.harness.processes.services import ServiceRequirements, Services
from duetime.interface import Design
from duetime.settings import Settings

RECOVERY = "recovery"
"""The worker that is up when all participants have ended."""
STARTS_WITHIN_S = 30.0
SPEED = ("fsync = off", "synchronous_commit = off", "full_page_writes = off", "deadlock_timeout = '50ms'")
"""No interleaving cuts the power, and a deadlock ends soon."""
REPEATABLE = ("autovacuum = off",)
"""Or it would decide by time where a row is stored, and so which of two rows with the same due time comes first."""
EFFECTS_TABLE = "CREATE TABLE explored_effects (op text, worker text)"
TABLES = """
    SELECT quote_ident(nspname) || '.' || quote_ident(relname), relname FROM pg_class
    JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind IN ('r', 'p') AND nspname !~ '^pg_' AND nspname <> 'information_schema' AND NOT relispartition
"""


COLUMNS = """
    SELECT quote_ident(table_schema) || '.' || quote_ident(table_name),
           array_agg(quote_ident(column_name) ORDER BY ordinal_position)
    FROM information_schema.columns
    WHERE table_schema !~ '^pg_' AND table_schema <> 'information_schema'
      AND data_type NOT IN ('timestamp with time zone', 'timestamp without time zone', 'date', 'interval')
    GROUP BY 1
"""
"""What a clock decides is left out: two states that differ in times alone are the same."""


class Lines:
    """A stream of JSON lines that is read without waiting."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor = descriptor
        self._rest = b""

    def read(self) -> list[Mapping[str, Any]] | None:
        """Return what has arrived; None at the end."""
        try:
            data = os.read(self.descriptor, 65536)
        except BlockingIOError:
            return []
        except ConnectionError:
            return None
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]


class Testbed:
    """The servers and processes, and the messages that come from them."""

    def __init__(
        self, design: Design, loaded_as: str, engine: Engine, url: str, settings: Settings, *, directory: Path
    ) -> None:
        self.design, self.loaded_as, self.engine, self.url, self.settings = design, loaded_as, engine, url, settings
        self.admin = psycopg.connect(url.replace("+psycopg", ""), autocommit=True)
        self.socket = str(directory / "controller")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.socket)
        self._listener.listen()
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self.ports: dict[str, int] = {}
        self._proxy: subprocess.Popen[bytes] | None = None
        self._warm: subprocess.Popen[bytes] | None = None
        self._connections: dict[int, socket.socket] = {}
        found = self.admin.execute(TABLES).fetchall()
        self._reset = f"TRUNCATE {', '.join(row[0] for row in found)} RESTART IDENTITY CASCADE"
        self._keep_what_was_installed([row[0] for row in found])
        self.tables = sorted(row[1] for row in found)
        columns = [(table, names) for table, names in self.admin.execute(COLUMNS).fetchall() if table in dict(found)]
        self._contents = " UNION ALL ".join(
            f"SELECT '{table}', ROW({', '.join(names)})::text FROM {table}"  # noqa: S608 - quoted by the database
            for table, names in sorted(columns)
        )

    def start(self, participants: Sequence[str], *, tempdir: Path, log: IO[bytes]) -> None:
        """Start the proxy with a port for each of `participants`, and the warm process."""
        contender = self.design.contender
        environment = {
            **composed_for_design(), **(contender.environment(self.url, "") if contender else {}), **owner_env(tempdir)
        }  # fmt: skip
        parts = urlsplit(self.url.replace("+psycopg", ""))
        dial = f"{parts.hostname}:{parts.port}"
        python, pipe = [sys.executable, "-m"], subprocess.PIPE
        warm_python = contender.python if contender else sys.executable
        self._proxy = subprocess.Popen(
            [*python, "duetime.explore.proxy", dial, *participants],
            stdin=pipe,
            stdout=pipe,
            stderr=log,
            env=environment,
        )
        self._warm = subprocess.Popen(
            [warm_python, "-m", "duetime.explore.participant_main", self.loaded_as, self.url],
            stdin=pipe,
            stdout=pipe,
            stderr=log,
            env=environment,
        )
        assert self._proxy.stdout and self._warm.stdout  # noqa: S101 - pipes were asked for
        if self._warm.stdout.readline().strip() != b"ready":
            written = Path(log.name).read_text(errors="replace").strip()
            raise HarnessError(f"the process that participants are forked from did not start:\n{written[-2000:]}")
        self._watch(self._proxy.stdout.fileno(), "proxy")
        give_up_at = time.monotonic() + STARTS_WITHIN_S
        while len(self.ports) < len(participants):
            for _, message in self.messages(0.1):
                if message and message["what"] == "listens":
                    self.ports[message["participant"]] = message["port"]
            if time.monotonic() > give_up_at:
                raise HarnessError("the stepping proxy did not start; see participants.log")
        self.command(do="tables", tables=self.tables)

    def _watch(self, descriptor: int, source: str | int) -> None:
        self._selector.register(descriptor, selectors.EVENT_READ, (source, Lines(descriptor)))

    def messages(self, within_s: float) -> Iterator[tuple[str | int, Mapping[str, Any] | None]]:
        """Yield what arrives: its source, ``proxy`` or a connection, and the message, or None at the source's end."""
        for key, _ in self._selector.select(within_s):
            if key.fileobj is self._listener:
                with suppress(BlockingIOError):
                    connection, _ = self._listener.accept()
                    self._connections[connection.fileno()] = connection
                    self._watch(connection.fileno(), connection.fileno())
                continue
            source, lines = key.data
            received = lines.read()
            if received is None:
                self._selector.unregister(key.fd)
                if source == "proxy":
                    raise HarnessError("the stepping proxy has ended; see participants.log")
                self._connections.pop(source).close()
                yield source, None
            for message in received or ():
                yield source, message

    def command(self, **command: object) -> None:
        """Send a command to the proxy."""
        assert self._proxy and self._proxy.stdin  # noqa: S101 - started before
        self._proxy.stdin.write(json.dumps(command).encode() + b"\n")
        self._proxy.stdin.flush()

    def fork(self, **task: object) -> None:
        """Let the warm process fork a participant."""
        assert self._warm and self._warm.stdin  # noqa: S101 - started before
        task = {"socket": self.socket, "design": self.loaded_as, "port": self.ports[str(task["participant"])], **task}
        self._warm.stdin.write(json.dumps(task).encode() + b"\n")
        self._warm.stdin.flush()

    def answer(self, connection: int, **answer: object) -> None:
        """Answer the question of a participant."""
        self._connections[connection].sendall(json.dumps(answer).encode() + b"\n")

    def _keep_what_was_installed(self, tables: Sequence[str]) -> None:
        """Copy the rows that there are, which each interleaving begins with."""
        self.admin.execute("CREATE SCHEMA explored")
        for number, table in enumerate(tables):
            if self.admin.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone():  # noqa: S608 - quoted by the database
                self.admin.execute(f"CREATE TABLE explored.rows_{number} AS TABLE {table}")
                self._reset += f"; INSERT INTO {table} OVERRIDING SYSTEM VALUE TABLE explored.rows_{number}"

    def reset(self) -> None:
        """Make all tables what they were when the design had been installed."""
        self.admin.execute(self._reset)

    def contents(self) -> list[tuple[str, str]]:
        """Return all committed rows, without times."""
        return sorted(self.admin.execute(self._contents).fetchall())

    def close(self) -> None:
        for process in (self._proxy, self._warm):
            if process:
                for stream in (process.stdin, process.stdout):
                    if stream:
                        with suppress(OSError):
                            stream.close()
                process.kill()
                process.wait()
        self.admin.close()
        self._listener.close()


@contextmanager
def running_testbed(design: Design, loaded_as: str, participants: Sequence[str], tempdir: Path) -> Iterator[Testbed]:
    """A testbed with a PostgreSQL of its own, on which `design` is installed.

    Raises:
        BadUsage: the design has no function that delivers what is due once.
        HarnessError: a process did not start.
    """
    drains_of(loaded_as)
    services = Services(tempdir, environment={})
    services.prepare(side_by_side=1)
    with ExitStack() as stack:
        requirements = ServiceRequirements(database_by_tcp=True)
        endpoints = stack.enter_context(services.for_run("explore", 0, requirements))
        engine = create_engine(endpoints.database_url)
        stack.callback(engine.dispose)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for setting in (*SPEED, *REPEATABLE):
                connection.exec_driver_sql(f"ALTER SYSTEM SET {setting}")
            connection.exec_driver_sql("SELECT pg_reload_conf()")
            connection.exec_driver_sql(EFFECTS_TABLE)
        design.install(engine)
        settings = settings_of(loaded_as, endpoints.database_url, RECOVERY, str(tempdir / "controller"))
        made = Testbed(design, loaded_as, engine, endpoints.database_url, settings, directory=tempdir)
        stack.callback(made.close)
        log = stack.enter_context((tempdir / "participants.log").open("ab"))
        made.start([*participants, RECOVERY], tempdir=tempdir, log=log)
        yield made
