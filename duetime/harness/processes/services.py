"""A database and a broker for each run, embedded or on the user's own servers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import redis
from psycopg import sql
from sqlalchemy import make_url

from duetime.errors import BadUsage, ServiceUnavailable
from duetime.faults.mechanisms.host_network import HostNetwork, host_network
from duetime.faults.mechanisms.network_namespace import NetworkLink
from duetime.faults.mechanisms.small_disk import SmallDisk
from duetime.harness.plan.plan import UNFLUSHED_S, Environment
from duetime.harness.processes.design_services import design_service
from duetime.harness.processes.embedded_servers import (
    EmbeddedServer,
    initialise_cluster,
    isolated_valkey,
    postgres,
    postgres_version,
    valkey,
    valkey_version,
)
from duetime.harness.processes.external_services import (
    broker_version,
    database_version,
    own_broker_database,
    own_database,
)
from duetime.harness.processes.hosts import BROKER, DATABASE, hosted_postgres, hosted_valkey
from duetime.harness.processes.pooler import Pooler, pooler
from duetime.harness.processes.proxy_control import PROBE_S, ProxyLink, link_to_broker, link_to_database
from duetime.harness.processes.replicated_broker import PRIMARY, ReplicatedBroker, replicated_valkey
from duetime.harness.processes.replication import ReplicatedDatabase, replicated_postgres
from duetime.harness.processes.small_disks import small_disks
from duetime.interface import Service
from duetime.urls import libpq_url, redis_url, sqlalchemy_url

UNFLUSHED = ("synchronous_commit=off", f"wal_writer_delay={UNFLUSHED_S * 1000 / 3:.0f}ms")
"""A commit is on disk after at most three rounds of the process that writes the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRequirements:
    """The services that a run needs.

    environment: the settings of both servers. proxied: which of ``database`` and ``broker`` are reached through a
    proxy. broker_isolated: whether the broker needs a network of its own, which can be partitioned. on_hosts: whether
    database and broker have a host of their own, and every worker can get one. small_disks: which of ``database``,
    ``pg_wal`` and ``broker`` have a disk that can be filled. services: the servers that the design brings itself.
    shards: the number of databases of the application, on one server.
    """

    environment: Environment = field(default_factory=Environment)
    proxied: frozenset[str] = frozenset()
    database_by_tcp: bool = False
    broker_isolated: bool = False
    on_hosts: bool = False
    services: Sequence[Service] = ()
    shards: int = 1
    small_disks: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """The database and the broker of one run, both empty at first and used by nothing else.

    database_through, broker_through: the URLs for the run's processes, which may lead through a pooler or a proxy.
    database, broker: the servers, if faults may kill them. The broker is the one that the design uses.
    replicated: the database, if it has a standby. replicated_broker: the broker, if it has a replica.
    pooler: the one on the way to the database, if any. links: the proxies, by service. hosts: if database and broker
    have a host of their own. disks: those that can be filled, by what is on them.
    services, services_through: the URLs of the servers that the design brings itself, by their names.
    further_shards: the names of the other databases of a sharded application.
    """

    database_url: str
    broker_url: str
    database_through: str
    broker_through: str
    database: EmbeddedServer | None
    broker: EmbeddedServer | None
    links: Mapping[str, ProxyLink]
    network_link: NetworkLink | None
    replicated: ReplicatedDatabase | None = None
    replicated_broker: ReplicatedBroker | None = None
    hosts: HostNetwork | None = None
    pooler: Pooler | None = None
    disks: Mapping[str, SmallDisk] = field(default_factory=dict)
    services: Mapping[str, str] = field(default_factory=dict)
    services_through: Mapping[str, str] = field(default_factory=dict)
    further_shards: Sequence[str] = ()

    def shards(self, url: str) -> list[str]:
        """Return `url` of the first database, and the same for each of the others."""
        first = make_url(url)
        others = (first.set(database=name) for name in self.further_shards)
        return [url, *(other.render_as_string(hide_password=False) for other in others)]

    @property
    def broker_primary(self) -> str:
        """The name of the broker's primary in Sentinel; empty if the broker has a URL of its own."""
        return PRIMARY if self.replicated_broker else ""

    def broker_answers(self) -> bool:
        """Return True if the broker answers within `PROBE_S`."""
        try:
            with redis.Redis.from_url(
                self.broker_url, socket_timeout=PROBE_S, socket_connect_timeout=PROBE_S
            ) as broker:
                return bool(broker.ping())
        except redis.RedisError:
            return False


class Services:
    """Provides each run with a database and a broker of its own.

    Embedded servers by default. With DUETIME_DATABASE_URL, a new database on that server; with DUETIME_BROKER_URL, an
    empty numbered database of that broker; both are removed after the run.
    """

    def __init__(self, tempdir: Path, environment: Mapping[str, str] = os.environ) -> None:
        self._tempdir = tempdir
        self._database_url = _checked(environment.get("DUETIME_DATABASE_URL"), sqlalchemy_url)
        self._broker_url = _checked(environment.get("DUETIME_BROKER_URL"), redis_url)
        self._template = tempdir / "template"

    def prepare(self, *, side_by_side: int) -> dict[str, str]:
        """Check or prepare what `side_by_side` concurrent runs need; return the versions of both servers.

        Raises:
            ServiceUnavailable: a server of the user's own does not answer or may not be used.
        """
        if self._database_url:
            database = database_version(self._database_url)
            with own_database(self._database_url):
                pass
        else:
            initialise_cluster(self._template, tempdir=self._tempdir)
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
    def external_database_url(self) -> str | None:
        """The user's own PostgreSQL, whose clock may differ from this machine's; None if it is embedded."""
        return self._database_url

    @property
    def embedded(self) -> bool:
        """True if both servers are embedded, so that faults may kill them."""
        return not self._database_url and not self._broker_url

    @contextmanager
    def for_run(
        self, name: str, slot: int, requirements: ServiceRequirements = ServiceRequirements()
    ) -> Iterator[Endpoints]:
        """The services of the run called `name`, the `slot`-th of the runs side by side.

        Raises:
            DuetimeError: a server did not start or does not answer.
        """
        directory = self._tempdir / name
        directory.mkdir()
        with ExitStack() as stack:
            # Removed now and not with the temporary directory, because a cluster takes 40 MB.
            stack.callback(shutil.rmtree, directory, ignore_errors=True)
            hosts = stack.enter_context(host_network()) if requirements.on_hosts else None
            disks = stack.enter_context(
                small_disks(
                    requirements.small_disks,
                    cluster=directory / "pg",
                    template=self._template,
                    broker=directory / "valkey",
                    tempdir=self._tempdir,
                )
            )
            database_url, database, replicated = stack.enter_context(
                self._database(directory / "pg", requirements, hosts)
            )
            further_shards = [
                stack.enter_context(self._further_database(database_url, number))
                for number in range(2, requirements.shards + 1)
            ]
            broker_url, broker, network_link, replicated_broker = stack.enter_context(
                self._broker(directory / "valkey", slot, requirements, hosts)
            )
            servers = {
                service.name: stack.enter_context(
                    design_service(service, directory / service.name, tempdir=self._tempdir)
                )
                for service in requirements.services
            }
            own_broker = next((servers[service.name] for service in requirements.services if service.is_broker), None)
            database_through, broker_through = database_url, broker_url
            services = {name: server.url() for name, server in servers.items()}
            services_through = dict(services)
            links: dict[str, ProxyLink] = {}
            pooled = None
            if requirements.environment.pooler != "none":
                pooled = stack.enter_context(
                    pooler(database_url, requirements.environment.pooler, directory / "pooler", tempdir=self._tempdir)
                )
                database_through = pooled.through
            if "database" in requirements.proxied:
                database_through, links["database"] = stack.enter_context(
                    link_to_database(database_through, directory / "pglink", tempdir=self._tempdir)
                )
            if "broker" in requirements.proxied and own_broker:
                port, links["broker"] = stack.enter_context(own_broker.link(tempdir=self._tempdir))
                services_through |= {own_broker.service.name: own_broker.url(port)}
            elif "broker" in requirements.proxied:
                broker_through, links["broker"] = stack.enter_context(link_to_broker(broker_url, tempdir=self._tempdir))
            yield Endpoints(
                database_url=database_url,
                broker_url=broker_url,
                database_through=database_through,
                broker_through=broker_through,
                database=database,
                broker=own_broker or broker,
                links=links,
                network_link=network_link,
                replicated=replicated,
                hosts=hosts,
                pooler=pooled,
                disks=disks,
                replicated_broker=replicated_broker,
                services=services,
                services_through=services_through,
                further_shards=further_shards,
            )

    @contextmanager
    def _database(
        self, directory: Path, requirements: ServiceRequirements, hosts: HostNetwork | None
    ) -> Iterator[tuple[str, EmbeddedServer | None, ReplicatedDatabase | None]]:
        environment = requirements.environment
        settings = () if environment.flushes_commits else UNFLUSHED
        if self._database_url:
            with own_database(self._database_url) as url:
                yield url, None, None
        elif hosts:
            host = hosts.host(DATABASE, far=True)
            with hosted_postgres(directory, host, template=self._template, tempdir=self._tempdir) as (url, server):
                yield url, server, None
        elif environment.replication != "none":
            with replicated_postgres(
                directory, template=self._template, tempdir=self._tempdir, replication=environment.replication
            ) as pair:
                yield pair.url, pair.primary, pair
        else:
            with postgres(
                directory,
                template=None if directory.exists() else self._template,
                tempdir=self._tempdir,
                by_tcp=requirements.database_by_tcp,
                settings=settings,
            ) as (url, server):
                yield url, server, None

    @contextmanager
    def _further_database(self, url: str, number: int) -> Iterator[str]:
        """Create another database on the server at `url`, and yield its name."""
        if self._database_url:
            with own_database(url) as further:
                yield str(make_url(further).database)
            return
        name = f"shard_{number}"
        with psycopg.connect(libpq_url(url), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield name  # it ends with its server

    @contextmanager
    def _broker(
        self, directory: Path, slot: int, requirements: ServiceRequirements, hosts: HostNetwork | None
    ) -> Iterator[tuple[str, EmbeddedServer | None, NetworkLink | None, ReplicatedBroker | None]]:
        environment = requirements.environment
        if self._broker_url:
            with own_broker_database(self._broker_url, slot) as url:
                yield url, None, None, None
        elif hosts:
            with hosted_valkey(directory, hosts.host(BROKER), tempdir=self._tempdir) as (url, server):
                yield url, server, None, None
        elif environment.broker_replication != "none":
            with replicated_valkey(
                directory, tempdir=self._tempdir, replication=environment.broker_replication
            ) as pair:
                yield pair.url, pair.primary, None, pair
        elif requirements.broker_isolated:
            with isolated_valkey(directory, tempdir=self._tempdir) as (url, server, link):
                yield url, server, link, None
        else:
            with valkey(directory, tempdir=self._tempdir, persistence=environment.broker_persistence) as (url, server):
                yield url, server, None, None


def _checked(url: str | None, check: Callable[[str], str]) -> str | None:
    """Return the URL of a server of the user's own; None if there is none.

    Raises:
        ServiceUnavailable: `check` refuses it.
    """
    try:
        return check(url) if url else None
    except BadUsage as error:
        raise ServiceUnavailable(f"{error}, or unset it to use the embedded one") from None
