"""schedule() and cancel() under each isolation level of the application, against the drain and against one another."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from duetime import registry
from duetime.app.tables import User
from duetime.interface import Notification
from duetime.settings import Settings
from push_readmodel.drain import drain
from push_readmodel.scheduler import ReadModelScheduler
from push_readmodel.schema import metadata
from tests.designs.read_model import FAR, RecordingGateway, note, schedule, stored
from tests.eventually import assert_eventually

LEVELS = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]
ERROR = "error"
READ_MODEL = ReadModelScheduler()
CALLS: dict[str, Callable[[Session], None]] = {
    "schedule newer": lambda session: READ_MODEL.schedule(note("a", revision=3, due_at=FAR), session=session),
    "schedule_many": lambda session: READ_MODEL.schedule_many(
        [note("b", due_at=FAR), note("a", revision=3, due_at=FAR)], session=session
    ),
    "schedule again": lambda session: READ_MODEL.schedule(note("a", revision=2, due_at=FAR), session=session),
    "cancel": lambda session: READ_MODEL.cancel("a", revision=3, session=session),
}


class HeldGateway(RecordingGateway):
    """A gateway whose delivery lasts until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        super().deliver(notification, attempt=attempt)
        self.released.wait()


@pytest.fixture(autouse=True)
def _table(engine: Engine) -> None:
    metadata.create_all(engine)


def truncate(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE pending_notifications"))


def outcome(engine: Engine, session: Session, call: Callable[[Session], None]) -> list[str] | str:
    """Return what is stored after `call` and the commit, or `ERROR`.

    After an error and a rollback nothing of the call is stored, and the call succeeds in a new transaction.
    """
    try:
        call(session)
        session.commit()
    except OperationalError as error:
        assert getattr(error.orig, "sqlstate", None) == "40001"
        session.rollback()
        assert "b/1" not in stored(engine)
        call(session)
        session.commit()
        return ERROR
    return stored(engine)


def delivered(engine: Engine) -> None:
    assert drain(engine, RecordingGateway()) == 1


def scheduled(engine: Engine) -> None:
    schedule(engine, note("a", revision=2, due_at=FAR))


def cancelled(engine: Engine) -> None:
    with Session(engine) as session:
        READ_MODEL.cancel("a", revision=2, session=session)
        session.commit()


# What was stored before, what commits between the snapshot and the call, the call: what is stored then, for each level.
AFTER_THE_SNAPSHOT: list[tuple[bool, Callable[[Engine], None], str, tuple[list[str] | str, ...]]] = [
    (True, delivered, "schedule newer", (["a/3"], ["a/3"], ["a/3"])),
    (True, delivered, "schedule_many", (["a/3", "b/1"], ["a/3", "b/1"], ["a/3", "b/1"])),
    (True, delivered, "cancel", ([], ERROR, ERROR)),
    (True, cancelled, "schedule newer", (["a/3"], ["a/3"], ["a/3"])),
    (True, cancelled, "cancel", ([], ERROR, ERROR)),
    (True, scheduled, "schedule newer", (["a/3"], ERROR, ERROR)),
    (True, scheduled, "schedule_many", (["a/3", "b/1"], ERROR, ERROR)),
    (True, scheduled, "schedule again", (["a/2"], ERROR, ERROR)),
    (True, scheduled, "cancel", ([], ERROR, ERROR)),
    (False, scheduled, "schedule newer", (["a/3"], ERROR, ERROR)),
    (False, scheduled, "schedule_many", (["a/3", "b/1"], ERROR, ERROR)),
    (False, scheduled, "schedule again", (["a/2"], ERROR, ERROR)),
    # The snapshot does not show the row: the cancel is as if it had come before.
    (False, scheduled, "cancel", ([], ["a/2"], ["a/2"])),
]


@pytest.mark.parametrize("level", LEVELS)
def test_what_commits_between_the_snapshot_and_the_call_is_respected_or_an_error(engine: Engine, level: str) -> None:
    found, expected = {}, {}
    for pending, happens, call, outcomes in AFTER_THE_SNAPSHOT:
        case = ("a row is stored" if pending else "nothing is stored", happens.__name__, call)
        truncate(engine)
        if pending:
            schedule(engine, note("a"))
        with Session(engine.execution_options(isolation_level=level)) as session:
            session.execute(text("SELECT 1 FROM pending_notifications"))
            happens(engine)
            found[case] = outcome(engine, session, CALLS[call])
        expected[case] = outcomes[LEVELS.index(level)]

    assert found == expected


@pytest.mark.parametrize("level", LEVELS)
def test_a_call_that_waits_for_a_delivery_comes_after_it_or_is_an_error(engine: Engine, level: str) -> None:
    found = {
        call: outcome_while_delivering(engine, level, call) for call in ("schedule newer", "schedule_many", "cancel")
    }

    committed = {"schedule newer": ["a/3"], "schedule_many": ["a/3", "b/1"], "cancel": []}
    assert found == (committed if level == "READ COMMITTED" else dict.fromkeys(committed, ERROR))


def outcome_while_delivering(engine: Engine, level: str, call: str) -> list[str] | str:
    """Return the outcome of `call`, made while a drain delivers the row that it needs."""
    truncate(engine)
    schedule(engine, note("a"))
    gateway = HeldGateway()
    results: list[list[str] | str] = []
    with Session(engine.execution_options(isolation_level=level)) as session:
        draining = threading.Thread(target=drain, args=(engine, gateway), daemon=True)
        calling = threading.Thread(target=lambda: results.append(outcome(engine, session, CALLS[call])), daemon=True)
        draining.start()
        gateway.delivered.wait()
        calling.start()
        assert_eventually(lambda: waits_for_a_row(engine))
        gateway.released.set()
        calling.join()
        draining.join()
    return results[0]


def waits_for_a_row(engine: Engine) -> bool:
    with engine.connect() as connection:
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return bool(connection.scalar(text(waiting)))


def test_a_serializable_transaction_that_fails_publishes_and_stores_nothing(engine: Engine, settings: Settings) -> None:
    serializable = engine.execution_options(isolation_level="SERIALIZABLE")
    for name in ("push_readmodel", "oban_style_queue", "oban_style_queue:hardened", "oban_style_queue:staged"):
        design = registry.load(name)
        design.install(engine)
        with Session(serializable) as first, Session(serializable) as second:
            for number, session in enumerate((first, second)):
                # Each reads what the other writes, so no serial order explains both.
                session.scalar(select(func.count()).select_from(User))
                session.add(User(id=number + 10 * len(name), name=name, address="a@b.example"))
                session.flush()
            design.scheduler(settings).schedule(note(f"{name}", due_at=FAR), session=second)
            first.commit()
            with pytest.raises(OperationalError, match="could not serialize access"):
                second.commit()

        assert design.pending(settings, engine) == []
