"""The queue: nothing is published before the caller's commit, and nothing after a rollback."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime.interface import Notification
from oban_style_queue.schedule import CeleryQueue

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


class Published:
    """Stands in for the Celery task: keeps what would go to the broker, in its order."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.app = self
        self.control = self

    def apply_async(self, **options: Any) -> None:
        self.calls.append((options["task_id"], options["eta"]))

    def revoke(self, ids: list[str]) -> None:
        self.calls.append(ids)


def note(revision: int) -> Notification:
    return Notification(key="a", revision=revision, kind="test", recipient="a@b.example", due_at=NOON)


def test_a_task_is_published_with_its_due_time_once_the_caller_has_committed(engine: Engine) -> None:
    published = Published()
    with Session(engine) as session:
        CeleryQueue(published).schedule(note(1), session=session)
        before = list(published.calls)
        session.commit()

    assert before == []
    assert published.calls == [("a/1", NOON)]


def test_a_newer_revision_revokes_every_older_one_before_it_is_published(engine: Engine) -> None:
    published = Published()
    with Session(engine) as session:
        CeleryQueue(published).schedule(note(3), session=session)
        session.commit()

    assert published.calls == [["a/1", "a/2"], ("a/3", NOON)]


def test_a_rollback_publishes_nothing_and_leaves_nothing_for_the_next_commit(engine: Engine) -> None:
    published = Published()
    with Session(engine) as session:
        queue = CeleryQueue(published)
        queue.schedule(note(1), session=session)
        session.rollback()
        queue.cancel("a", revision=2, session=session)
        session.commit()
        session.commit()

    assert published.calls == [["a/1"]]


def test_a_session_that_is_closed_without_a_commit_publishes_nothing_later(engine: Engine) -> None:
    published = Published()
    session = Session(engine)
    queue = CeleryQueue(published)
    queue.schedule(note(1), session=session)
    session.close()
    queue.cancel("a", revision=2, session=session)
    session.commit()
    session.close()

    assert published.calls == [["a/1"]]
