"""The way to a service through a proxy that can interrupt it."""

from __future__ import annotations

import json
import os
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

PROBE_S = 0.3


class ProxyLink:
    """One proxy process, and probes that go through it."""

    def __init__(self, name: str, process: subprocess.Popen[str], listen: Address, probe: Callable[[], None]) -> None:
        self.name = name
        self._process = process
        self._listen = listen
        self._probe = probe

    def send(self, word: Command) -> int:
        """Have the proxy do it; how many connections were open before."""
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101 - pipes were asked for
        self._process.stdin.write(json.dumps(word) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise HarnessError(f"the proxy before the {self.name} ended")
        return int(json.loads(answer)["open"])

    def refused(self) -> bool:
        """Whether a new connection is refused at once."""
        family = socket.AF_UNIX if is_path(self._listen) else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.settimeout(PROBE_S)
            try:
                probe.connect(self._listen if is_path(self._listen) else host_and_port(self._listen))
            except (ConnectionRefusedError, FileNotFoundError):
                return True
            except OSError:
                return False
        return False

    def answers(self) -> bool:
        """Whether a new connection is served, within a fraction of a second."""
        try:
            self._probe()
        except (psycopg.Error, redis.RedisError, OSError):
            return False
        return True


@contextmanager
def link_to_database(url: str, directory: Path) -> Iterator[tuple[str, ProxyLink]]:
    """`url` by way of a proxy, and the proxy."""
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
        # Its own smallest timeout is two seconds; so a socket asks first whether anybody answers at all.
        _says_something(listen)
        psycopg.connect(plain, connect_timeout=2).close()

    with _proxy("database", listen, dial, directory.parent.parent, probe) as link:
        yield through.render_as_string(hide_password=False), link


@contextmanager
def link_to_broker(url: str, directory: Path) -> Iterator[tuple[str, ProxyLink]]:
    """`url` by way of a proxy, and the proxy."""
    parsed = make_url(url)
    listen, dial = f"127.0.0.1:{free_port()}", f"{parsed.host or '127.0.0.1'}:{parsed.port or 6379}"
    through = _at(parsed, listen).render_as_string(hide_password=False)

    def probe() -> None:
        with redis.Redis.from_url(through, socket_timeout=PROBE_S, socket_connect_timeout=PROBE_S) as broker:
            broker.ping()

    with _proxy("broker", listen, dial, directory.parent.parent, probe) as link:
        yield through, link


@contextmanager
def _proxy(name: str, listen: Address, dial: Address, tempdir: Path, probe: Callable[[], None]) -> Iterator[ProxyLink]:
    process = subprocess.Popen(
        [sys.executable, "-m", "duetime.faults.mechanisms.tcp_proxy", listen, dial],
        env={**os.environ, **owner_env(tempdir)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None  # noqa: S101 - pipes were asked for
    try:
        if process.stdout.readline() != "ready\n":
            raise HarnessError(f"the proxy before the {name} did not start")
        yield ProxyLink(name, process, listen, probe)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def _says_something(listen: Address) -> None:
    """Ask PostgreSQL at `listen` whether it does TLS: it answers one byte before anything else is agreed on.

    Raises:
        OSError: nobody answers.
    """
    family = socket.AF_UNIX if is_path(listen) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as question:
        question.settimeout(PROBE_S)
        question.connect(listen if is_path(listen) else host_and_port(listen))
        question.sendall(b"\x00\x00\x00\x08\x04\xd2\x16\x2f")
        if not question.recv(1):
            raise ConnectionResetError(f"{listen} closed the connection")


def _at(url: URL, address: Address) -> URL:
    host, port = host_and_port(address)
    return url.set(host=host, port=port)
