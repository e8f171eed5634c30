"""Mutant of a migration: the application reads the switch without the lock, and so may act on both sides of it."""

# It changes the inside of another module.
# mypy: ignore-errors

from sqlalchemy import select

from duetime import registry
from duetime.explore.drain_once import MIGRATION, drains_of
from duetime.migration import MigratingScheduler, migration
from duetime.runtime.calls import usable_session


def switched(self, session):
    return bool(usable_session(session).scalar(select(migration.c.switched).where(migration.c.name == self._name)))


MigratingScheduler._switched = switched
design = registry.load(MIGRATION)
drain_once = drains_of(MIGRATION)
