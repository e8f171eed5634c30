"""Starts and controls the TCP proxies through which faults interrupt connections."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import redis
from sqlalchemy import URL, make_url

from duetime.errors import HarnessError
from duetime.faults.mechanisms.tcp_proxy import Address, Command, host_and_port, is_path
from duetime.harness.processes.cleanup import owner_env
from duetime.harness.processes.embedded_servers import free_port
from duetime.harness.processes.environment import composed

PROBE_S = 0.3
SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
"""PostgreSQL answers it with one byte before authentication."""


class ProxyLink:
    """One proxy process, and probes that go through it."""

    def __init__(self, name: str, process: subprocess.Popen[str], listen: Address, probe: Callable[[], None]) -> None:
        self.name = name
        self._process = process
        self._listen = listen
        self._probe = probe

    def send(self, command: Command) -> int:
        """Send `command` to the proxy; return how many connections were open before.

        Raises:
            HarnessError: the proxy has ended.
        """
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101 - pipes were asked for
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise HarnessError(f"the proxy of the {self.name} ended")
        return int(json.loads(answer)["open"])

    def refused(self) -> bool:
        """Return True if a new connection is refused at once."""
        with _socket(self._listen) as probe:
            try:
                _connect(probe, self._listen)
            except (ConnectionRefusedError, FileNotFoundError):
                return True
            except OSError:
                return False
        return False

    def answers(self) -> bool:
        """Return True if the service answers a new connection within `PROBE_S`."""
        try:
            self._probe()
        except (psycopg.Error, redis.RedisError, OSError):
            return False
        return True


@contextmanager
def link_to_database(url: str, directory: Path, *, tempdir: Path) -> Iterator[tuple[str, ProxyLink]]:
    """Start a proxy for the database at `url`; yield the URL through the proxy, and the proxy.

    directory: for the proxy's Unix socket, if the database has one.
    """
    parsed = make_url(url)
    socket_directory = parsed.query.get("host")
    if parsed.host is None and isinstance(socket_directory, str):
        directory.mkdir()
        name = f".s.PGSQL.{parsed.port or 5432}"
        listen, dial = str(directory / name), f"{socket_directory}/{name}"
        through = parsed.update_query_dict({"host": str(directory)})
    else:
        listen, dial = f"127.0.0.1:{free_port()}", f"{parsed.host or '127.0.0.1'}:{parsed.port or 5432}"
        through = _at(parsed, listen)
    plain = through.set(drivername="postgresql").render_as_string(hide_password=False)

    def probe() -> None:
        # libpq's smallest timeout is two seconds, so a plain socket tries first.
        check_answers(listen, SSL_REQUEST)
        psycopg.connect(plain, connect_timeout=2).close()

    with _proxy("database", listen, dial, tempdir, probe) as link:
        yield through.render_as_string(hide_password=False), link


@contextmanager
def link_to_broker(url: str, *, tempdir: Path) -> Iterator[tuple[str, ProxyLink]]:
    """Start a proxy for the broker at `url`; yield the URL through the proxy, and the proxy."""
    parsed = make_url(url)
    listen, dial = f"127.0.0.1:{free_port()}", f"{parsed.host or '127.0.0.1'}:{parsed.port or 6379}"
    through = _at(parsed, listen).render_as_string(hide_password=False)

    def probe() -> None:
        with redis.Redis.from_url(through, socket_timeout=PROBE_S, socket_connect_timeout=PROBE_S) as broker:
            broker.ping()

    with _proxy("broker", listen, dial, tempdir, probe) as link:
        yield through, link


@contextmanager
def link_to_port(name: str, port: int, hello: bytes, *, tempdir: Path) -> Iterator[tuple[int, ProxyLink]]:
    """Start a proxy for the loopback port of the service `name`; yield the proxy's port, and the proxy.

    hello: what a client of the service sends first.
    """
    own_port = free_port()
    listen = f"127.0.0.1:{own_port}"
    with _proxy(name, listen, f"127.0.0.1:{port}", tempdir, lambda: check_answers(listen, hello)) as link:
        yield own_port, link


def check_answers(listen: Address, hello: bytes) -> None:
    """Connect and send `hello`, which the service answers with at least one byte.

    Raises:
        OSError: no answer within `PROBE_S`.
    """
    with _socket(listen) as probe:
        _connect(probe, listen)
        probe.sendall(hello)
        if not probe.recv(1):
            raise ConnectionResetError(f"{listen} closed the connection")


@contextmanager
def _proxy(name: str, listen: Address, dial: Address, tempdir: Path, probe: Callable[[], None]) -> Iterator[ProxyLink]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "duetime.faults.mechanisms.tcp_proxy", listen, dial],
        env={**composed(), **owner_env(tempdir)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None  # noqa: S101 - pipes were asked for
    try:
        if process.stdout.readline() != "ready\n":
            raise HarnessError(f"the proxy of the {name} did not start")
        yield ProxyLink(name, process, listen, probe)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def _socket(address: Address) -> socket.socket:
    probe = socket.socket(socket.AF_UNIX if is_path(address) else socket.AF_INET, socket.SOCK_STREAM)
    probe.settimeout(PROBE_S)
    return probe


def _connect(probe: socket.socket, address: Address) -> None:
    probe.connect(address if is_path(address) else host_and_port(address))


def _at(url: URL, address: Address) -> URL:
    host, port = host_and_port(address)
    return url.set(host=host, port=port)
