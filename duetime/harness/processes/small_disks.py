"""Disks of their own for the data of a run's services, because a fault fills them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from duetime.faults.mechanisms.small_disk import SmallDisk, small_disk
from duetime.harness.processes.embedded_servers import copy_files

LOG = "pg_wal"


@contextmanager
def small_disks(
    which: frozenset[str], *, cluster: Path, template: Path, broker: Path, tempdir: Path
) -> Iterator[Mapping[str, SmallDisk]]:
    """Mount a small disk for each target of a fault that fills one, with the service's first files on it.

    which: ``database`` is the cluster in the directory `cluster` without its log, ``pg_wal`` is the log, ``broker`` is
    the directory `broker`. Once the log is full PostgreSQL ends, so it is not on the disk of the rest.
    """
    with ExitStack() as stack:
        disks = {}
        if not which.isdisjoint({"database", LOG}):
            log = cluster.with_name(LOG)
            cluster.mkdir()
            log.mkdir()
            if "database" in which:
                disks["database"] = stack.enter_context(small_disk(cluster, for_copy_of=template))
            if LOG in which:
                disks[LOG] = stack.enter_context(small_disk(log, for_copy_of=template / LOG))
            copy_files(template, cluster, tempdir=tempdir)
            copy_files(template / LOG, log, tempdir=tempdir)
            shutil.rmtree(cluster / LOG)
            (cluster / LOG).symlink_to(log)
        if "broker" in which:
            broker.mkdir()
            disks["broker"] = stack.enter_context(small_disk(broker))
        yield disks
