"""Servers that a design brings itself, for instance a RabbitMQ: children of the run, on loopback."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import psutil

from duetime.contenders import filled
from duetime.errors import HarnessError
from duetime.harness.processes.embedded_servers import EmbeddedServer, free_port, running
from duetime.harness.processes.environment import composed
from duetime.harness.processes.proxy_control import ProxyLink, check_answers, link_to_port
from duetime.interface import Service

MARK = "DUETIME_SERVICE_DIRECTORY"
"""The environment variable that identifies the processes of a service, also after they left its process group."""
START_S = 60.0
"""RabbitMQ is ready in 4 s on two idle cores, in 15 s on busy ones."""
ENDED_S = 5.0


class DesignServer(EmbeddedServer):
    """A running `Service`. It may start daemons, as Erlang starts epmd; `kill` and `stop` end these too."""

    def __init__(self, service: Service, directory: Path, *, tempdir: Path) -> None:
        self.service = service
        self._ports = {name: str(free_port()) for name in service.ports}
        self._port = int(self._ports[service.ports[0]])
        self._mark = str(directory)
        super().__init__(
            f"broker {service.name}" if service.is_broker else f"service {service.name}",
            [filled(part, self._ports) for part in service.argv],
            directory,
            tempdir=tempdir,
            probe=lambda _pid: self._is_ready(),
            end_with=signal.SIGKILL,
            environment={
                **composed(),
                **{name: filled(value, self._ports) for name, value in service.environment.items()},
                MARK: self._mark,
            },
            starts_within_s=START_S,
        )

    def url(self, port: int | None = None) -> str:
        """Return the URL for clients; with `port`, the one through a proxy that listens there."""
        through = {self.service.ports[0]: str(port)} if port else {}
        return filled(self.service.url, {**self._ports, **through})

    def link(self, *, tempdir: Path) -> AbstractContextManager[tuple[int, ProxyLink]]:
        """Start a proxy in front of the service; yield its port, and the proxy."""
        return link_to_port(self.name, self._port, self.service.hello, tempdir=tempdir)

    def kill(self) -> None:
        """SIGKILL to every process of the service, until none is left."""
        if not self.ended():
            os.killpg(self.pid, signal.SIGKILL)
        while found := self._members():
            for process in found:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(found, timeout=ENDED_S)

    def gone(self) -> bool:
        return self.ended() and not self._members()

    def stop(self) -> None:
        """End the service at once, because its data is deleted next."""
        self.kill()
        if self._process is not None:
            self._process.wait()

    def _members(self) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if _is_marked(process, self._mark)]

    def _is_ready(self) -> bool:
        """Return True if it answers, and no other process has taken the port since it was chosen."""
        try:
            check_answers(f"127.0.0.1:{self._port}", self.service.hello)
        except OSError:
            return False
        return any(self._port in _listening_ports(process) for process in self._members())


@contextmanager
def design_service(service: Service, directory: Path, *, tempdir: Path) -> Iterator[DesignServer]:
    """Run `service` in `directory`.

    Raises:
        HarnessError: it cannot be started, it ended, or it did not answer in time.
    """
    directory.mkdir()
    server = DesignServer(service, directory, tempdir=tempdir)
    if not shutil.which(service.argv[0]):
        raise HarnessError(f"the {server.name} cannot be started: there is no program {service.argv[0]!r}; install it")
    with running(server):
        yield server


def _is_marked(process: psutil.Process, mark: str) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        # Some servers overwrite their environment with their process titles.
        return process.environ().get(MARK) == mark or process.cwd() == mark
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def _listening_ports(process: psutil.Process) -> set[int]:
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        listening = [each for each in process.net_connections(kind="tcp") if each.status == psutil.CONN_LISTEN]
        return {each.laddr.port for each in listening if each.laddr}
    return set()
