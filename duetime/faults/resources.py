"""Resources that run out: the space on a disk, the memory of a worker, its descriptors of files and connections."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from resource import RLIMIT_NOFILE, prlimit
from typing import Protocol

import psycopg
import redis

from duetime.faults.database import WITH_FILES, terminate_others
from duetime.faults.fault import FaultNotVerified, Sleeper, wait_for
from duetime.faults.service import ServiceTarget
from duetime.faults.worker import SERVING_S

NO_SPACE = "No space left on device"
"""What PostgreSQL and Valkey say of ENOSPC."""
FILLFACTOR = 10
"""PostgreSQL's smallest: new rows take a tenth of a page, so that it needs pages often."""
WAITING_COUNTED = 5
SILENT_S = 1.5
"""Longer than workers wait before they connect again."""
REFUSED_WITHIN_S = 10.0
DISK_NOTICED_WITHIN_S = 30.0
"""A PostgreSQL that has crashed syncs its files before it recovers, and only then finds that there is no room."""
PROBE_KEY = "duetime-probe"
WRITTEN = 1 << 16
"""Bytes, more than the free part of a page."""
MEMORY_LEFT = 4 << 20
KILLED_WITHIN_S = 5.0


class DiskTarget(Protocol):
    """The interface of a disk that this fault needs."""

    def fill(self) -> int:
        """Fill what is free with one file; return its size in bytes."""

    def free_bytes(self) -> int: ...

    def make_room(self) -> None:
        """Remove the file. Safe to repeat."""


class LoggingService(ServiceTarget, Protocol):
    """A service whose log can be searched."""

    def logged(self, text: str) -> Sequence[str]:
        """Return the lines of its log that contain `text`."""


Write = Callable[[], str | None]
"""Writes to a service; returns what it answered to a full disk, or None if it wrote."""


class DiskFull:
    """The disk of a service has no room until the fault is healed. A service that ended is then started again.

    write: only what it answers proves the fault, because there may be room in the files on a full disk.
    holds: what is on the disk.
    """

    def __init__(self, service: ServiceTarget, disk: DiskTarget, write: Write, *, holds: str) -> None:
        self._service, self._disk, self._write, self._holds = service, disk, write, holds
        self._answer: str | None = None
        self._filled = 0

    def prepare(self, _stop: Sleeper) -> str:
        return f"the disk with {self._holds} is filled"

    def inject(self) -> None:
        self._filled = self._disk.fill()

    def verify_injected(self, stop: Sleeper) -> str:
        # Asked first, because what is written below would fill a small disk at last.
        if not self._filled:
            raise FaultNotVerified(f"nothing was written to the disk with {self._holds}")
        message = f"no write failed for want of space for {self._holds}"
        wait_for(self._is_refused, stop, within_s=DISK_NOTICED_WITHIN_S, message=message)
        return f"{self._disk.free_bytes()} bytes are free on the disk with {self._holds}: {self._answer}"

    def _is_refused(self) -> bool:
        with suppress(psycopg.OperationalError, redis.ConnectionError):
            self._answer = self._write()
        return self._answer is not None

    def heal(self) -> None:
        self._disk.make_room()
        if self._service.ended():
            self._service.start()

    def verify_healed(self, stop: Sleeper) -> str:
        name = self._service.name
        wait_for(self._is_accepted, stop, within_s=DISK_NOTICED_WITHIN_S, message=f"the {name} did not accept a write")
        return f"the {name} accepts a write again"

    def _is_accepted(self) -> bool:
        with suppress(psycopg.OperationalError, redis.ConnectionError):
            return self._service.answers() and self._write() is None
        return False


class TableDiskFull(DiskFull):
    """The disk with the tables is full, and so are their pages, as they are when it has been full for a while.

    Their fillfactor is set so that a row rarely fits into a page that has others. Otherwise a run is over before a
    table needs a page. url: of the database, for libpq.
    """

    def __init__(self, database: LoggingService, disk: DiskTarget, url: str) -> None:
        super().__init__(database, disk, partial(extend_table, url), holds="the database's tables")
        self._database, self._url = database, url

    def inject(self) -> None:
        self._alter(f"SET (fillfactor = {FILLFACTOR})")
        super().inject()

    def heal(self) -> None:
        super().heal()
        with suppress(psycopg.OperationalError):  # it is being started
            self._alter("RESET (fillfactor)")

    def verify_healed(self, stop: Sleeper) -> str:
        return f"{super().verify_healed(stop)}; it had refused {len(self._database.logged(NO_SPACE))} for want of space"

    def _alter(self, change: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as admin:
            for (table,) in admin.execute(WITH_FILES).fetchall():
                admin.execute(f"ALTER TABLE {table} {change}")


def extend_table(url: str) -> str | None:
    """Write a table that needs pages of its own in the database at `url`."""
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "CREATE TEMPORARY TABLE duetime_probe AS SELECT repeat('x', 1000) FROM generate_series(1, 100)"
            )
    except psycopg.errors.DiskFull as error:
        return str(error).splitlines()[0]
    return None


def extend_log(database: LoggingService, url: str) -> str | None:
    """Let the database at `url` begin a segment of its log. It ends if it cannot: no commit could be written."""
    if database.ended():
        return f"the {database.name} ended: {'; '.join(database.logged(NO_SPACE)[-1:])}"
    with psycopg.connect(url, autocommit=True) as connection:
        # Nothing is switched if nothing was written since the last time.
        connection.execute("SELECT pg_logical_emit_message(false, 'duetime', '')")
        connection.execute("SELECT pg_switch_wal()")
    return None


class BrokerDiskFull(DiskFull):
    """The disk with the broker's append-only file is full.

    A worker whose command was refused may end, and seconds pass until it has. So the fault is over only when as many
    clients wait for messages as before. url: of the broker.
    """

    def __init__(self, broker: ServiceTarget, disk: DiskTarget, url: str) -> None:
        super().__init__(broker, disk, partial(write_to_broker, url), holds="the broker's data")
        self._url = url
        self._waited = 0

    def prepare(self, stop: Sleeper) -> str:
        # Several times, because one that has waited for a second asks again.
        for _ in range(WAITING_COUNTED):
            self._waited = max(self._waited, self._waiting())
            stop.sleep(0.02)
        return super().prepare(stop)

    def verify_healed(self, stop: Sleeper) -> str:
        evidence = super().verify_healed(stop)
        message = f"fewer than {self._waited} clients waited for messages"
        wait_for(lambda: self._waiting() >= self._waited, stop, within_s=SERVING_S, message=message)
        return f"{evidence}, and {self._waited} clients wait for messages, as before"

    def _waiting(self) -> int:
        with redis.Redis.from_url(self._url) as broker:
            return int(broker.info("clients")["blocked_clients"])


def write_to_broker(url: str) -> str | None:
    """Write to the broker at `url`, which stores each write in its append-only file."""
    try:
        with redis.Redis.from_url(url) as broker:
            broker.set(PROBE_KEY, "x" * WRITTEN)
            broker.delete(PROBE_KEY)
    except redis.ResponseError as error:
        if "MISCONF" not in str(error):
            raise
        return str(error)
    return None


class MemoryTarget(Protocol):
    """The interface of a group of processes with a memory limit that this fault needs."""

    def used_bytes(self) -> int: ...

    def killed(self) -> int:
        """Return how many of its processes the kernel has killed for their memory."""

    def limit(self, size: int | None) -> None: ...

    def take(self, size: int) -> None:
        """Start a process in the group that takes memory, and that is not killed if another can be."""

    def give_back(self) -> None:
        """End it. Safe to repeat."""


class ProcessesTarget(Protocol):
    """The interface of a worker's processes that these faults need."""

    @property
    def name(self) -> str: ...

    @property
    def pid(self) -> int:
        """Its main process."""

    def pids(self) -> list[int]:
        """Return its live processes."""

    def serving(self) -> bool:
        """Return True if it is alive and has reported that it is ready."""

    def logged(self, *texts: str) -> str | None:
        """Return the first line of its log that contains one of `texts`, in whatever case."""


class MemoryLimit:
    """A worker's processes get a memory limit and go beyond it, so that the kernel kills the largest.

    What goes beyond it is a process beside them, as if one of them leaked; the kernel does not look at who did.
    """

    def __init__(self, worker: ProcessesTarget, memory: MemoryTarget) -> None:
        self._worker, self._memory = worker, memory
        self._pids: frozenset[int] = frozenset()
        self._main = self._killed = self._limit = 0

    def prepare(self, _stop: Sleeper) -> str:
        self._pids, self._main = frozenset(self._worker.pids()), self._worker.pid
        self._killed = self._memory.killed()
        return f"{self._worker.name} may use {MEMORY_LEFT >> 20} MB more than now, and twice as much is asked for"

    def inject(self) -> None:
        self._limit = self._memory.used_bytes() + MEMORY_LEFT
        self._memory.limit(self._limit)
        self._memory.take(2 * MEMORY_LEFT)

    def verify_injected(self, stop: Sleeper) -> str:
        message = f"the kernel killed no process of {self._worker.name}"
        wait_for(lambda: bool(self._ended()), stop, within_s=KILLED_WITHIN_S, message=message)
        self._memory.give_back()
        ended = self._ended()
        which = ", ".join(f"{pid} (its {'main process' if pid == self._main else 'child'})" for pid in sorted(ended))
        killed = self._memory.killed() - self._killed
        return f"limit {self._limit >> 20} MB, processes killed by the kernel: {killed}; gone: {which}"

    def _ended(self) -> frozenset[int]:
        """The worker's processes that have ended, once the kernel has killed one."""
        if self._memory.killed() == self._killed:
            return frozenset()
        return self._pids - frozenset(self._worker.pids())

    def heal(self) -> None:
        self._memory.give_back()
        self._memory.limit(None)

    def verify_healed(self, stop: Sleeper) -> str:
        name = self._worker.name
        wait_for(self._worker.serving, stop, within_s=SERVING_S, message=f"{name} did not serve")
        return f"{name} has no limit, and serves"


class DescriptorsUsedUp:
    """A worker's processes may open no further descriptor, while what they were connected to disconnects them.

    The limit of each is its first socket, so that it cannot even open what it has just closed.

    disconnect: ends the sessions of the database and the connections of the broker. Otherwise nothing would show:
    whatever is open goes on.
    """

    def __init__(self, worker: ProcessesTarget, disconnect: Callable[[], None]) -> None:
        self._worker, self._disconnect = worker, disconnect
        self._before: dict[int, tuple[int, int]] = {}
        self._limits: set[int] = set()
        self._sockets: frozenset[str] = frozenset()
        self._injected_at = 0.0
        self._main = 0

    def prepare(self, _stop: Sleeper) -> str:
        self._main = self._worker.pid
        return f"every process of {self._worker.name} has as many descriptors as it may have, and is disconnected"

    def inject(self) -> None:
        for pid in self._worker.pids():
            with suppress(ProcessLookupError, FileNotFoundError):
                limit = min([_first_unused(pid), *_sockets(pid)])
                self._before[pid] = prlimit(pid, RLIMIT_NOFILE)
                prlimit(pid, RLIMIT_NOFILE, (limit, self._before[pid][1]))
                self._limits.add(limit)
        self._sockets = self._open_sockets()
        self._disconnect()
        self._injected_at = time.monotonic()

    def _open_sockets(self) -> frozenset[str]:
        return frozenset(socket for pid in self._worker.pids() for socket in _sockets(pid).values())

    def verify_injected(self, stop: Sleeper) -> str:
        name = self._worker.name
        if not self._limits:
            raise FaultNotVerified(f"no process of {name} has a limit")
        message = f"{name} failed at nothing"
        wait_for(lambda: self._failed() is not None, stop, within_s=REFUSED_WITHIN_S, message=message)
        return f"no descriptor from {min(self._limits)} on can be opened; {name} {self._failed()}"

    def _failed(self) -> str | None:
        if line := self._worker.logged("too many open files", "emfile"):
            return f"logged: {line}"
        if self._worker.pid != self._main:
            return "has ended"
        # A worker may try again without a word.
        lost = len(self._sockets) - len(self._open_sockets())
        disconnected = self._open_sockets() < self._sockets and time.monotonic() > self._injected_at + SILENT_S
        return f"lost {lost} sockets and opened none for {SILENT_S:g} s" if disconnected else None

    def heal(self) -> None:
        if not self._before:
            return
        usual = max(soft for soft, _ in self._before.values())
        # Also of processes that were forked since, and inherited it.
        for pid in self._worker.pids():
            with suppress(ProcessLookupError):
                soft, hard = prlimit(pid, RLIMIT_NOFILE)
                if soft in self._limits:
                    prlimit(pid, RLIMIT_NOFILE, (usual, hard))

    def verify_healed(self, stop: Sleeper) -> str:
        name = self._worker.name
        wait_for(self._is_healed, stop, within_s=SERVING_S, message=f"{name} did not serve without the limit")
        return f"{name} may open descriptors again, and has connected"

    def _is_healed(self) -> bool:
        limits = set()
        for pid in self._worker.pids():
            with suppress(ProcessLookupError):
                limits.add(prlimit(pid, RLIMIT_NOFILE)[0])
        # A worker that is about to end because of the fault opens no socket. One that was restarted does.
        connected = not self._open_sockets() <= self._sockets
        return connected and limits.isdisjoint(self._limits) and self._worker.serving()


def _sockets(pid: int) -> dict[int, str]:
    """The sockets of `pid` by their descriptors; none if it has ended."""
    found = {}
    with suppress(FileNotFoundError, ProcessLookupError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                if (opened := str(entry.readlink())).startswith("socket:"):
                    found[int(entry.name)] = opened
    return found


def _first_unused(pid: int) -> int:
    """The lowest descriptor that `pid` has not opened."""
    opened = {int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    return next(number for number in range(len(opened) + 1) if number not in opened)


def disconnect(database_url: str, broker_url: str) -> None:
    """End every session of the database and every connection of the broker but those of this process."""
    with psycopg.connect(database_url, autocommit=True) as admin:
        terminate_others(admin)
    with redis.Redis.from_url(broker_url) as broker:
        for kind in ("normal", "pubsub"):
            broker.client_kill_filter(_type=kind, skipme=True)
