"""The promises of the contract that a scheduler keeps or breaks by itself, without any worker.

Each is tested on a PostgreSQL, by calls in transactions and by what the design's ``pending`` reports afterwards. Needs
only what `pip install duetime` brings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session
from sqlalchemy.orm.session import JoinTransactionMode

from duetime.errors import CannotBeListed, JoinedTransaction
from duetime.interface import Design, Guarantees, Notification, Scheduler
from duetime.pages import DOCS
from duetime.settings import Settings

State = Literal["kept", "BROKEN", "not promised", "not tested"]

CALLS = f"{DOCS}/contract.md#for-an-application"
SESSIONS = f"{DOCS}/contract.md#which-sessions-work"
PENDING = f"{DOCS}/contract.md#for-a-design"
AFTER_COMMIT = f"{DOCS}/contract.md#for-a-design"
DUE_AFTER = timedelta(minutes=10)
"""Long after the end of the test, and short enough for a broker with a longest delay."""


class BrokenPromise(AssertionError):
    """A promise is not kept; the message is the evidence."""


@dataclass(slots=True)
class Trial:
    """Carries out calls under keys of its own, and remembers them as the evidence."""

    design: Design
    scheduler: Scheduler
    settings: Settings
    engine: Engine
    prefix: str
    due_at: datetime = field(default_factory=lambda: datetime.now(UTC) + DUE_AFTER)
    calls: list[str] = field(default_factory=list)

    def notification(self, name: str, revision: int = 1) -> Notification:
        return Notification(
            key=f"{self.prefix}{name}",
            revision=revision,
            kind="conformance",
            recipient="a@b.example",
            due_at=self.due_at,
            payload={"x": [1]},
        )

    @contextmanager
    def session(self) -> Iterator[Session]:
        with Session(self.engine) as session:
            # The application's own work, so that the transaction has begun.
            session.execute(text("SELECT 1"))
            yield session

    @contextmanager
    def savepoint(self, session: Session, *, roll_back: bool = False) -> Iterator[None]:
        self.calls.append("savepoint")
        savepoint = session.begin_nested()
        yield
        if roll_back:
            self.calls.append("roll back to savepoint")
            savepoint.rollback()
        else:
            self.calls.append("release savepoint")
            savepoint.commit()

    def schedule(self, session: Session, name: str, revision: int = 1) -> None:
        self.calls.append(f"schedule {_short(f'{name}/{revision}')}")
        self.scheduler.schedule(self.notification(name, revision), session=session)

    def cancel(self, session: Session, name: str, *, revision: int) -> None:
        self.calls.append(f"cancel {name} below revision {revision}")
        self.scheduler.cancel(f"{self.prefix}{name}", revision=revision, session=session)

    def commit(self, session: Session) -> None:
        self.calls.append("commit")
        session.commit()

    def rollback(self, session: Session) -> None:
        self.calls.append("rollback")
        session.rollback()

    def __str__(self) -> str:
        return f"after {', '.join(self.calls)}" if self.calls else "at the first call"

    def expect_pending(self, *ops: str) -> None:
        """Raise BrokenPromise unless `pending` reports exactly `ops` of the keys of this trial."""
        found = [each.op for each in self.design.pending(self.settings, self.engine)]
        pending = sorted(op.removeprefix(self.prefix) for op in found if op.startswith(self.prefix))
        if pending != sorted(ops):
            raise BrokenPromise(f"{self}: pending() has {_listed(pending)} instead of {_listed(sorted(ops))}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A sentence that holds for every design, or for every design that guarantees it.

    read: the part of the contract that says so. try_it: raises if the promise is broken.
    not_promised: returns why a design with these guarantees does not promise it; empty if it does.
    """

    name: str
    read: str
    try_it: Callable[[Trial], None]
    not_promised: Callable[[Guarantees], str] = lambda _guarantees: ""


@dataclass(frozen=True, slots=True)
class Tested:
    """What became of one promise. evidence: of a broken one, otherwise the reason; empty if it was kept."""

    promise: str
    state: State
    evidence: str
    read: str

    def to_json(self) -> dict[str, str]:
        return {"promise": self.promise, "state": self.state, "evidence": self.evidence, "read": self.read}


class Conformance:
    """Tests the promises of one design, whose tables exist, on the servers of `settings`."""

    def __init__(self, design: Design, settings: Settings, engine: Engine) -> None:
        self._design = design
        self._settings = settings
        self._engine = engine
        self._scheduler = design.scheduler(settings)
        self._premise: Tested | None = None

    def test(self, promise: Rule) -> Tested:
        """Test one promise. Every other one is seen by what PREMISE promises, so that one is tested before."""
        if promise is INSTALL:
            return self._tried(promise)
        self._premise = self._premise or self._tried(PREMISE)
        if promise is PREMISE:
            return self._premise
        if reason := promise.not_promised(self._design.guarantees):
            return Tested(promise.name, "not promised", reason, promise.read)
        if self._premise.state != "kept":
            return Tested(promise.name, "not tested", "pending() does not show what is scheduled", PENDING)
        return self._tried(promise)

    def _tried(self, promise: Rule) -> Tested:
        number = PROMISES.index(promise)
        trial = Trial(self._design, self._scheduler, self._settings, self._engine, f"conform:{number}/")
        try:
            promise.try_it(trial)
        except CannotBeListed as error:
            return Tested(promise.name, "not tested", f"pending() cannot tell: {error}", PENDING)
        except BrokenPromise as error:
            if promise is PREMISE and self._design.guarantees.delivery == "nothing":
                return Tested(promise.name, "not promised", "it need not store anything (delivery='nothing')", PENDING)
            return Tested(promise.name, "BROKEN", str(error), promise.read)
        except Exception as error:  # noqa: BLE001 - whatever a design raises is the evidence
            return Tested(promise.name, "BROKEN", f"{trial}: {type(error).__name__}: {error}", promise.read)
        return Tested(promise.name, "kept", "", promise.read)


def _listed(ops: Sequence[str]) -> str:
    return ", ".join(map(_short, ops)) or "nothing"


def _short(op: str) -> str:
    return op if len(op) < 40 else f"{op[:10]}…{op[-10:]}"


def _committed(trial: Trial) -> None:
    with trial.session() as session:
        trial.schedule(session, "a")
        trial.commit(session)
    trial.expect_pending("a/1")


def _installed_again(trial: Trial) -> None:
    trial.calls.append("a second install()")
    trial.design.install(trial.engine)


def _not_before_the_commit(trial: Trial) -> None:
    with trial.session() as session:
        trial.schedule(session, "a")
        trial.expect_pending()


def _rolled_back(trial: Trial) -> None:
    with trial.session() as session:
        trial.schedule(session, "a")
        trial.rollback(session)
        trial.commit(session)
    trial.expect_pending()


def _callers_transaction(trial: Trial) -> None:
    with trial.session() as session:
        before = _transaction_of(session)
        trial.schedule(session, "a")
        trial.cancel(session, "b", revision=2)
        if _transaction_of(session) != before:
            raise BrokenPromise(f"{trial}: the session is in another transaction than before")


def _transaction_of(session: Session) -> object:
    return session.execute(text("SELECT pg_current_xact_id()::text")).scalar_one()


def _savepoints(trial: Trial) -> None:
    with trial.session() as session:
        trial.schedule(session, "before")
        with trial.savepoint(session):
            trial.schedule(session, "released")
            with trial.savepoint(session):
                trial.schedule(session, "released-inside")
            with trial.savepoint(session, roll_back=True):
                trial.schedule(session, "undone-inside")
        with trial.savepoint(session, roll_back=True):
            trial.schedule(session, "undone")
            with trial.savepoint(session):
                trial.schedule(session, "released-inside-undone")
        trial.schedule(session, "after")
        trial.expect_pending()
        trial.commit(session)
    trial.expect_pending("before/1", "released/1", "released-inside/1", "after/1")


def _released_then_rolled_back(trial: Trial) -> None:
    with trial.session() as session:
        with trial.savepoint(session):
            trial.schedule(session, "a")
        trial.rollback(session)
        trial.commit(session)
    trial.expect_pending()


def _connection_rolled_back(trial: Trial) -> None:
    modes: list[JoinTransactionMode] = ["conditional_savepoint", "create_savepoint", "rollback_only"]
    for mode in modes:
        trial.calls[:] = [f"a Session(connection, join_transaction_mode={mode!r})"]
        with trial.engine.connect() as connection, connection.begin() as transaction:
            with Session(connection, join_transaction_mode=mode) as session, suppress(JoinedTransaction):
                trial.schedule(session, "a")
                trial.commit(session)
            trial.calls.append("the connection rolled back")
            transaction.rollback()
        trial.expect_pending()


def _cancelled(trial: Trial) -> None:
    with trial.session() as session:
        trial.schedule(session, "a")
        trial.schedule(session, "b")
        trial.commit(session)
        trial.cancel(session, "a", revision=2)
        trial.commit(session)
    trial.expect_pending("b/1")


def _cancel_undone(trial: Trial) -> None:
    with trial.session() as session:
        trial.schedule(session, "a")
        trial.commit(session)
        with trial.savepoint(session, roll_back=True):
            trial.cancel(session, "a", revision=2)
        trial.commit(session)
        trial.cancel(session, "a", revision=2)
        trial.rollback(session)
    trial.expect_pending("a/1")


def _cancel_spares_newer(trial: Trial) -> None:
    with trial.session() as session:
        trial.schedule(session, "a", 2)
        trial.commit(session)
        trial.cancel(session, "a", revision=2)
        trial.commit(session)
    trial.expect_pending("a/2")


def _again_after_cancel(trial: Trial) -> None:
    with trial.session() as session:
        trial.schedule(session, "a")
        trial.commit(session)
        trial.cancel(session, "a", revision=2)
        trial.commit(session)
        trial.schedule(session, "a", 3)
        trial.commit(session)
    trial.expect_pending("a/3")


def _replaced(trial: Trial) -> None:
    with trial.session() as session:
        trial.schedule(session, "a", 1)
        trial.commit(session)
        trial.schedule(session, "a", 2)
        trial.commit(session)
        trial.schedule(session, "b", 1)
        trial.schedule(session, "b", 2)
        trial.commit(session)
    trial.expect_pending("a/2", "b/2")


def _older_ignored(trial: Trial) -> None:
    with trial.session() as session:
        trial.schedule(session, "a", 2)
        trial.commit(session)
        trial.schedule(session, "a", 1)
        trial.commit(session)
    trial.expect_pending("a/2")


def _repeated(trial: Trial) -> None:
    with trial.session() as session:
        trial.schedule(session, "a")
        trial.commit(session)
        trial.schedule(session, "a")
        trial.commit(session)
    trial.expect_pending("a/1")


def _many(trial: Trial) -> None:
    notifications = [trial.notification("a"), trial.notification("b", 1), trial.notification("b", 2)]
    trial.calls.append("schedule_many a/1, b/1, b/2")
    with trial.session() as session:
        trial.scheduler.schedule_many(notifications, session=session)
        trial.commit(session)
    trial.expect_pending("a/1", "b/2")


def _any_key(trial: Trial) -> None:
    names = ["with space", "ümlaut", "日本", "50%", "a/b:c#d?e=f&g", "back\\slash'quote\"", "{braces}", "x" * 180]
    with trial.session() as session:
        for name in names:
            trial.schedule(session, name)
        trial.commit(session)
    trial.expect_pending(*(f"{name}/1" for name in names))


def _no_cancel(guarantees: Guarantees) -> str:
    if not guarantees.has_cancel:
        return "it has no cancel (has_cancel=False)"
    return "" if guarantees.cancels else "a cancel may be lost (cancels=False)"


def _not_unique(guarantees: Guarantees) -> str:
    return "" if guarantees.unique_by_key else "a repeated call may add a second (unique_by_key=False)"


INSTALL = Rule(name="install() can be repeated", read=PENDING, try_it=_installed_again)
PREMISE = Rule(name="a notification is pending after the commit", read=PENDING, try_it=_committed)
PROMISES: Sequence[Rule] = (
    INSTALL,
    PREMISE,
    Rule(name="it is not pending before the commit", read=AFTER_COMMIT, try_it=_not_before_the_commit),
    Rule(name="it is not pending after a rollback", read=AFTER_COMMIT, try_it=_rolled_back),
    Rule(name="the calls leave the transaction to the caller", read=CALLS, try_it=_callers_transaction),
    Rule(name="a savepoint that is rolled back undoes its calls, and no others", read=CALLS, try_it=_savepoints),
    Rule(name="a released savepoint is no commit", read=CALLS, try_it=_released_then_rolled_back),
    Rule(
        name="nothing is pending after a test suite rolled its connection back",
        read=SESSIONS,
        try_it=_connection_rolled_back,
    ),
    Rule(name="a cancel removes its key, and no other", read=CALLS, try_it=_cancelled, not_promised=_no_cancel),
    Rule(name="a cancel that is rolled back cancels nothing", read=CALLS, try_it=_cancel_undone),
    Rule(name="a cancel spares its own revision and newer ones", read=CALLS, try_it=_cancel_spares_newer),
    Rule(
        name="a cancelled key can be scheduled again", read=CALLS, try_it=_again_after_cancel, not_promised=_no_cancel
    ),
    Rule(name="a newer revision replaces the older", read=CALLS, try_it=_replaced, not_promised=_no_cancel),
    Rule(
        name="an older revision changes nothing while a newer one is pending",
        read=CALLS,
        try_it=_older_ignored,
        not_promised=_no_cancel,
    ),
    Rule(name="a repeated call adds nothing", read=CALLS, try_it=_repeated, not_promised=_not_unique),
    Rule(name="schedule_many() stores the newest of each key", read=CALLS, try_it=_many),
    Rule(name="every allowed key is kept apart from others", read=CALLS, try_it=_any_key),
)
