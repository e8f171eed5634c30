"""A client of the application in the interpreter of a contender: carries out steps, which it reads as JSON lines.

``["schedule", key, revision]`` or ``["schedule", key, revision, due_at]``, ``["cancel", key, revision]``,
``["commit"]``, ``["rollback"]``, ``["savepoint"]``, ``["release"]`` and ``["rollback to"]``, the last two for the
innermost savepoint. It answers each line with ``done``.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session, SessionTransaction

from duetime import registry
from duetime.interface import Notification, Scheduler
from duetime.settings import Settings

DUE_AT = datetime.now(UTC) + timedelta(hours=1)
"""The same for every call, because a repeated one has the same content."""


def carry_out(step: list[Any], scheduler: Scheduler, session: Session, savepoints: list[SessionTransaction]) -> None:
    match step:
        case ["schedule", key, revision, *given]:
            due_at = datetime.fromisoformat(given[0]) if given else DUE_AT
            notification = Notification(key=key, revision=revision, kind="test", recipient="a@b.example", due_at=due_at)
            scheduler.schedule(notification, session=session)
        case ["cancel", key, revision]:
            scheduler.cancel(key, revision=revision, session=session)
        case ["commit"]:
            session.commit()
        case ["rollback"]:
            session.rollback()
        case ["savepoint"]:
            savepoints.append(session.begin_nested())
        case ["release"]:
            savepoints.pop().commit()
        case ["rollback to"]:
            savepoints.pop().rollback()
        case _:
            raise ValueError(step)


def main() -> None:
    settings = Settings.from_environment()
    scheduler = registry.load(settings.design).scheduler(settings)
    savepoints: list[SessionTransaction] = []
    with Session(create_engine(settings.database_url)) as session:
        for line in sys.stdin:
            session.execute(text("SELECT 1"))  # the application's own work, so that there is something to commit
            carry_out(json.loads(line), scheduler, session, savepoints)
            print("done", flush=True)  # noqa: T201 - the test reads it


if __name__ == "__main__":
    main()
