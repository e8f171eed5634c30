"""Servers for each run: embedded ones that come as wheels, or the user's own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from duetime.harness.borrowed import broker_version, database_version, own_broker_database, own_database
from duetime.harness.embedded import initialise_cluster, postgres, postgres_version, valkey, valkey_version


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
        self._template = place / "template"

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

    @contextmanager
    def for_run(self, name: str, slot: int) -> Iterator[Endpoints]:
        """Servers for the run called `name`, the `slot`-th of those that go on at the same time."""
        own = self._place / name
        own.mkdir()
        with ExitStack() as stack:
            # A cluster takes 40 MB, and a long comparison runs hundreds.
            stack.callback(shutil.rmtree, own, ignore_errors=True)
            if self._database_url:
                database = own_database(self._database_url)
            else:
                database = postgres(own / "pg", template=self._template)
            broker = own_broker_database(self._broker_url, slot) if self._broker_url else valkey(own / "valkey")
            yield Endpoints(stack.enter_context(database), stack.enter_context(broker))
