"""A stored schedule, carried out again: for tests."""

from __future__ import annotations

from pathlib import Path

from duetime import registry
from duetime.explore.explorer import Explorer, Schedule
from duetime.explore.scopes import scope_named
from duetime.explore.story import read
from duetime.harness.processes.cleanup import run_tempdir


def replayed(file: Path) -> Schedule:
    """Carry out the schedule in `file` again, on a PostgreSQL of its own.

    Raises:
        BadUsage: the file holds no schedule, or its design is not here.
        NotDeterministic: the design offers other steps than at that time.
    """
    name, scope, steps = read(file)
    with run_tempdir() as tempdir, Explorer(registry.load(name), name, scope_named(scope), tempdir) as explorer:
        return explorer.replay(steps)
