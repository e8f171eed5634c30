"""A Valkey, a replica of it, and three Sentinels that let the replica take over when the primary has died."""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import redis

from duetime.errors import HarnessError
from duetime.harness.plan.plan import BrokerReplication
from duetime.harness.processes.embedded_servers import EmbeddedServer, free_port, running, valkey_server

PRIMARY = "broker"
"""The name under which Sentinel knows the primary."""
SENTINELS = 3
QUORUM = 2
DOWN_AFTER_MS = 1000
"""Sentinel's default is 30 s."""
FAILOVER_TIMEOUT_MS = 3000
"""Sentinel's default is 3 min. After a failed election the next one follows after twice this time."""
FOLLOWS_WITHIN_S = 20.0
ANSWER_S = 2.0
MARK = "duetime-harness"
"""The key that the harness writes, so that the primary acknowledges something in each run."""
REPLICATED: Sequence[str] = ("--repl-diskless-sync-delay", "0")
REFUSING: Sequence[str] = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "1")


class ReplicatedBroker:
    """A primary that every client finds through Sentinel, and a replica that becomes the primary when it has died.

    url: of the Sentinels, as Celery writes it. Offsets are numbers of bytes of the stream of changes.
    """

    def __init__(
        self, primary: EmbeddedServer, replica: EmbeddedServer, ports: tuple[int, int], sentinels: Sequence[int]
    ) -> None:
        self.primary, self.replica = primary, replica
        self._ports, self._sentinels = ports, sentinels
        self.url = ";".join(f"sentinel://127.0.0.1:{port}" for port in sentinels)
        # Bound and not listening: who connects to it is refused, and nothing else takes the port meanwhile.
        self._nowhere = socket.socket()
        self._nowhere.bind(("127.0.0.1", 0))

    def acknowledged_offset(self) -> int:
        """Return up to where the primary has made changes, all of them acknowledged."""
        return int(self._replication(self._ports[0])["master_repl_offset"])

    def replicated_offset(self) -> int:
        """Return up to where the replica has the changes."""
        return int(self._replication(self._ports[1])["slave_repl_offset"])

    def cut_replication(self) -> None:
        """Let the replica follow a port on which nothing listens. The primary goes on, and knows it at once."""
        self._follow(self._ports[1], int(self._nowhere.getsockname()[1]))

    def replica_is_cut(self) -> bool:
        """Return True if the replica has no link to a primary, and has read what had arrived."""
        return bool(self._replication(self._ports[1])["master_link_status"] == "down")

    def refusal(self) -> str | None:
        """Write to the primary. Returns its reason if it refuses; None if it acknowledges."""
        return self._refusal(self._ports[0])

    def kill_primary(self) -> None:
        self.primary.kill()

    def primary_gone(self) -> bool:
        return self.primary.gone()

    def taken_over(self) -> bool:
        """Return True if the replica is the primary now, for itself and for every Sentinel."""
        try:
            role = self._replication(self._ports[1])["role"]
            named = {self._named_by(port) for port in self._sentinels}
        except redis.RedisError:
            return False
        return bool(role == "master" and named == {self._ports[1]})

    def bring_back(self) -> None:
        """Let the replica follow the primary again; after a failover start the old primary, as the new one's replica.

        As the start scripts of Valkey's containers do: a server asks Sentinel, and follows the primary if it is not the
        primary itself. Sentinel would do it too, ten seconds later.
        """
        if self.taken_over():
            if self.primary.ended():
                self.primary.start()
                self.primary.wait_ready()
            self._follow(self._ports[0], self._ports[1])
        elif not self.primary.ended():
            self._follow(self._ports[1], self._ports[0])

    def serves_writes(self) -> bool:
        """Return True if the replica has taken over, acknowledges writes, and has the old primary as its replica."""
        try:
            new = self._replication(self._ports[1])
            return new["role"] == "master" and new["connected_slaves"] == 1 and self._refusal(self._ports[1]) is None
        except redis.RedisError:
            return False

    def close(self) -> None:
        self._nowhere.close()

    def wait_for_replica(self) -> None:
        """Wait until the replica has everything.

        Raises:
            HarnessError: it does not follow in time.
        """
        give_up_at = time.monotonic() + FOLLOWS_WITHIN_S
        while self._replication(self._ports[1])["master_link_status"] != "up":
            if time.monotonic() > give_up_at:
                raise HarnessError(f"the broker's replica did not follow within {FOLLOWS_WITHIN_S:g} s")
            time.sleep(0.02)

    def wait_for_quorum(self) -> None:
        """Wait until each Sentinel knows the replica and could fail over to it.

        Raises:
            HarnessError: they do not agree in time.
        """
        give_up_at = time.monotonic() + FOLLOWS_WITHIN_S
        while not all(self._can_fail_over(port) for port in self._sentinels):
            if time.monotonic() > give_up_at:
                raise HarnessError(f"the broker's Sentinels did not agree within {FOLLOWS_WITHIN_S:g} s")
            time.sleep(0.05)

    def _can_fail_over(self, sentinel: int) -> bool:
        with _connected(sentinel) as client:
            try:
                client.execute_command("SENTINEL", "CKQUORUM", PRIMARY)
            except redis.ResponseError:
                return False
            replicas: Sequence[Mapping[str, Any]] = client.sentinel_slaves(PRIMARY)
            links = [each["master-link-status"] for each in replicas if not each["is_disconnected"]]
            return links == ["ok"]

    def _named_by(self, sentinel: int) -> int:
        with _connected(sentinel) as client:
            address: Any = client.sentinel_get_master_addr_by_name(PRIMARY)
            return int(address[1])

    def _follow(self, port: int, primary: int) -> None:
        with _connected(port) as client:
            client.execute_command("REPLICAOF", "127.0.0.1", primary)

    def _refusal(self, port: int) -> str | None:
        with _connected(port) as client:
            try:
                client.set(MARK, time.monotonic_ns())
            except redis.ResponseError as error:
                return str(error)
            return None

    def _replication(self, port: int) -> Mapping[str, Any]:
        with _connected(port) as client:
            found: Mapping[str, Any] = client.info("replication")
            return found


@contextmanager
def replicated_valkey(directory: Path, *, tempdir: Path, replication: BrokerReplication) -> Iterator[ReplicatedBroker]:
    """Run a Valkey with its data in `directory`, a replica, and three Sentinels.

    Raises:
        HarnessError: one of them did not start.
    """
    ports = free_port(), free_port()
    options = [*REPLICATED, *(REFUSING if replication == "min_replicas" else ())]
    primary = _valkey("broker", directory, ports[0], options, tempdir=tempdir)
    following = [*options, "--replicaof", "127.0.0.1", str(ports[0])]
    replica = _valkey("broker's replica", _beside(directory, "replica"), ports[1], following, tempdir=tempdir)
    sentinel_ports = [free_port() for _ in range(SENTINELS)]
    broker = ReplicatedBroker(primary, replica, ports, sentinel_ports)
    with ExitStack() as stack:
        stack.callback(broker.close)
        for server in (primary, replica):
            stack.enter_context(running(server))
        broker.wait_for_replica()
        for number, port in enumerate(sentinel_ports):
            place = _beside(directory, f"sentinel-{number}")
            stack.enter_context(running(_sentinel(place, port, sentinel_ports, ports, tempdir=tempdir)))
        broker.wait_for_quorum()
        yield broker


def _beside(directory: Path, name: str) -> Path:
    return directory.with_name(f"{directory.name}-{name}")


def _valkey(name: str, directory: Path, port: int, options: Sequence[str], *, tempdir: Path) -> EmbeddedServer:
    return _server(name, directory, port, ["--dir", str(directory), "--port", str(port), *options], tempdir=tempdir)


def _sentinel(
    directory: Path, port: int, sentinels: Sequence[int], ports: tuple[int, int], *, tempdir: Path
) -> EmbeddedServer:
    config = directory / "sentinel.conf"
    server = _server("broker's Sentinel", directory, port, [str(config), "--sentinel"], tempdir=tempdir)
    lines = [
        f"port {port}",
        f"dir {directory}",
        f"sentinel myid {_sentinel_id(port)}",
        f"sentinel monitor {PRIMARY} 127.0.0.1 {ports[0]} {QUORUM}",
        f"sentinel down-after-milliseconds {PRIMARY} {DOWN_AFTER_MS}",
        f"sentinel failover-timeout {PRIMARY} {FAILOVER_TIMEOUT_MS}",
        # What it would find out by itself within some seconds, and then write into this file.
        f"sentinel known-replica {PRIMARY} 127.0.0.1 {ports[1]}",
        *(
            f"sentinel known-sentinel {PRIMARY} 127.0.0.1 {other} {_sentinel_id(other)}"
            for other in sentinels
            if other != port
        ),
    ]
    config.write_text("\n".join(lines) + "\n")
    return server


def _sentinel_id(port: int) -> str:
    return hashlib.sha1(str(port).encode(), usedforsecurity=False).hexdigest()


def _server(name: str, directory: Path, port: int, arguments: Sequence[str], *, tempdir: Path) -> EmbeddedServer:
    directory.mkdir(parents=True)
    return valkey_server(name, f"redis://127.0.0.1:{port}/0", arguments, directory, tempdir=tempdir)


def _connected(port: int) -> redis.Redis:
    return redis.Redis(
        port=port, host="127.0.0.1", socket_timeout=ANSWER_S, socket_connect_timeout=ANSWER_S, decode_responses=True
    )
