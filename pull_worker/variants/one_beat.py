"""Variant: one beat for all workers, as Celery's documentation recommends."""

from __future__ import annotations

import sys
from dataclasses import replace

from duetime.interface import Role
from pull_worker.design import design as naive

design = replace(
    naive,
    name="pull_worker:one_beat",
    summary="one Celery beat for all workers polls the events table for what starts in one lead time",
    weakness="the one beat is a single point of failure: what falls due while it restarts is never sent; and ticks "
    "that it sent while no worker received them all run afterwards, each over the same window",
    roles=[
        Role(
            name="worker",
            argv=(
                *(sys.executable, "-m", "celery", "-A", "pull_worker.worker", "worker"),
                *("-n", "{worker}@pull_worker", "-c", "2", "-l", "INFO", "--without-mingle", "--without-gossip"),
            ),
            ready="{worker}@pull_worker ready.",
        ),
        Role(
            name="beat",
            argv=(
                *(sys.executable, "-m", "celery", "-A", "pull_worker.worker", "beat"),
                *("-s", "{state}/beat-schedule", "--pidfile", "", "-l", "INFO"),
            ),
            ready="beat: Starting...",
            replicas=1,
        ),
    ],
)
