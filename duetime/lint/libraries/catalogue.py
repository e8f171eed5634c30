"""The libraries by name."""

from __future__ import annotations

from duetime.lint.libraries import arq, bullmq, dramatiq, huey, oban, pgqueuer, procrastinate, rq, saq, sidekiq, taskiq
from duetime.lint.libraries.declaration import Library

LIBRARIES: dict[str, Library] = {
    module.LIBRARY.name: module.LIBRARY
    for module in (procrastinate, pgqueuer, oban, rq, dramatiq, huey, arq, saq, taskiq, sidekiq, bullmq)
}


def library_of(target: str) -> Library | None:
    """Return the library that `target` begins with, as in ``rq`` and ``rq:shop.worker:worker``."""
    return LIBRARIES.get(target.partition(":")[0])
