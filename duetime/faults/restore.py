"""The database is replaced by a backup that is older than what was acknowledged since."""

from __future__ import annotations

import time
from typing import Protocol

from duetime.faults.fault import FaultNotVerified, LostCommits, Sleeper, wait_for
from duetime.faults.service import UP_WITHIN_S, ServiceTarget

AFTER_BACKUP_S = 1.5
"""A minute and a half of the application."""


class BackupTarget(Protocol):
    """The interface of a backup that this fault needs. Positions in the log are numbers of bytes."""

    def take(self) -> None: ...

    def position(self) -> int:
        """Return up to where the database has written its log."""

    def restore(self) -> None:
        """Replace the data of the database, which does not run, by the backup."""


class Restore:
    """A backup is taken, the database dies with its disk a moment later, and the backup is restored."""

    def __init__(self, database: ServiceTarget, backup: BackupTarget) -> None:
        self._database, self._backup = database, backup
        self._taken_at = self._since_ns = 0
        self.lost: LostCommits | None = None

    def prepare(self, _stop: Sleeper) -> str:
        return f"the database is lost, and replaced by a backup that was taken {AFTER_BACKUP_S:g} s before"

    def inject(self) -> None:
        self._since_ns = time.monotonic_ns()
        self._backup.take()
        self._taken_at = self._backup.position()

    def verify_injected(self, stop: Sleeper) -> str:
        if not self._since_ns:
            raise FaultNotVerified("no backup was taken")
        stop.sleep(AFTER_BACKUP_S)
        size = self._backup.position() - self._taken_at
        if size <= 0:
            raise FaultNotVerified("nothing was acknowledged after the backup")
        self._database.kill()
        wait_for(self._database.gone, stop, within_s=5, message=f"the {self._database.name} did not end")
        self.lost = LostCommits(size, self._since_ns)
        return (
            f"every process of the {self._database.name} has ended; {size} bytes of its log are newer than the backup"
        )

    def heal(self) -> None:
        if self.lost and self._database.ended():
            self._backup.restore()
            self._database.start()

    def verify_healed(self, stop: Sleeper) -> str:
        name = self._database.name
        wait_for(self._database.answers, stop, within_s=UP_WITHIN_S, message=f"the {name} did not answer")
        return f"the {name} answers again, with the data of the backup"
