"""Servers for each run: embedded ones that come as wheels, or the user's own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from duetime.faults.mechanisms.network_namespace import NetworkLink
from duetime.harness.plan.plan import Persistence
from duetime.harness.processes.embedded_servers import (
    EmbeddedServer,
    initialise_cluster,
    postgres,
    postgres_version,
    valkey,
    valkey_apart,
    valkey_version,
)
from duetime.harness.processes.external_services import (
    broker_version,
    database_version,
    own_broker_database,
    own_database,
)
from duetime.harness.processes.proxy_control import PROBE_S, ProxyLink, link_to_broker, link_to_database


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRequirements:
    """What a run asks of its servers. links: which of database and broker are reached through a proxy.

    broker_isolated: on a network of its own, which can be cut off.
    """

    broker_persistence: Persistence = "default"
    links: frozenset[str] = frozenset()
    broker_isolated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Where one run finds its database and its broker, both empty at first and nobody else's.

    database_through, broker_through: where the processes of the run find them, which may be a proxy.
    database, broker: the servers themselves, if they may be killed.
    """

    database_url: str
    broker_url: str
    database_through: str
    broker_through: str
    database: EmbeddedServer | None
    broker: EmbeddedServer | None
    links: Mapping[str, ProxyLink]
    network_link: NetworkLink | None

    def broker_answers(self) -> bool:
        """Whether the broker answers, within a fraction of a second."""
        try:
            with redis.Redis.from_url(
                self.broker_url, socket_timeout=PROBE_S, socket_connect_timeout=PROBE_S
            ) as broker:
                return bool(broker.ping())
        except redis.RedisError:
            return False


class Services:
    """Hands each run a database and a broker of its own.

    Embedded, each run gets a PostgreSQL and a Valkey; given URLs, a new database on that PostgreSQL and an empty
    numbered database of that Valkey or Redis, both removed again.
    """

    def __init__(self, tempdir: Path, environment: Mapping[str, str] = os.environ) -> None:
        self._tempdir = tempdir
        self._database_url = environment.get("DUETIME_DATABASE_URL") or None
        self._broker_url = environment.get("DUETIME_BROKER_URL") or None
        self._template = tempdir / "template"

    def prepare(self, *, side_by_side: int) -> dict[str, str]:
        """Check or make what all runs share, for so many at a time; return the versions of what answers.

        Raises:
            ServiceUnavailable: a server of the user's own does not answer or may not be used.
        """
        if self._database_url:
            database = database_version(self._database_url)
            with own_database(self._database_url):
                pass
        else:
            initialise_cluster(self._template)
            database = postgres_version()
        if self._broker_url:
            broker = broker_version(self._broker_url)
            for slot in range(side_by_side):
                with own_broker_database(self._broker_url, slot):
                    pass
        else:
            broker = valkey_version()
        return {"postgresql": database, "broker": broker}

    @property
    def own(self) -> bool:
        """Whether both servers are ours to hurt."""
        return not self._database_url and not self._broker_url

    @contextmanager
    def for_run(
        self, name: str, slot: int, requirements: ServiceRequirements = ServiceRequirements()
    ) -> Iterator[Endpoints]:
        """Servers for the run called `name`, the `slot`-th of those that go on at the same time."""
        own = self._tempdir / name
        own.mkdir()
        with ExitStack() as stack:
            # A cluster takes 40 MB, and a long comparison runs hundreds.
            stack.callback(shutil.rmtree, own, ignore_errors=True)
            database: EmbeddedServer | None = None
            broker: EmbeddedServer | None = None
            links: dict[str, ProxyLink] = {}
            network_link: NetworkLink | None = None
            if self._database_url:
                database_url = stack.enter_context(own_database(self._database_url))
            else:
                database_url, database = stack.enter_context(postgres(own / "pg", template=self._template))
            if self._broker_url:
                broker_url = stack.enter_context(own_broker_database(self._broker_url, slot))
            elif requirements.broker_isolated:
                broker_url, broker, network_link = stack.enter_context(valkey_apart(own / "valkey"))
            else:
                broker_url, broker = stack.enter_context(
                    valkey(own / "valkey", persistence=requirements.broker_persistence)
                )
            database_through, broker_through = database_url, broker_url
            if "database" in requirements.links:
                to_database = link_to_database(database_url, own / "pglink")
                database_through, links["database"] = stack.enter_context(to_database)
            if "broker" in requirements.links:
                broker_through, links["broker"] = stack.enter_context(link_to_broker(broker_url, own / "valkeylink"))
            yield Endpoints(
                database_url=database_url,
                broker_url=broker_url,
                database_through=database_through,
                broker_through=broker_through,
                database=database,
                broker=broker,
                links=links,
                network_link=network_link,
            )
