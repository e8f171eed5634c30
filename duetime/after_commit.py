"""Runs actions after the outermost commit of a SQLAlchemy session, for a design that publishes to another store.

SQLAlchemy's own event ``after_commit`` is also fired when a savepoint is released, which commits nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import Connection, event
from sqlalchemy.orm import Session, SessionTransaction, scoped_session

from duetime.errors import JoinedTransaction, UnusableSession

_OUTBOX = "duetime.after_commit"
"""The key of ``Session.info`` under which the actions wait for the commit."""


@dataclass(frozen=True, slots=True)
class _Once:
    """An action that a transaction runs once under its name."""

    name: str
    action: Callable[[], object]

    def __call__(self) -> object:
        return self.action()


@dataclass(slots=True)
class _Outbox:
    """The actions of one session.

    waiting: those of each open transaction and savepoint, in the order of the calls.
    committed: those of a transaction that has committed and is about to end.
    running: those that run now; None at any other time.
    """

    connection: Connection
    waiting: dict[SessionTransaction, list[Callable[[], object]]] = field(default_factory=dict)
    committed: list[Callable[[], object]] = field(default_factory=list)
    running: list[Callable[[], object]] | None = None


def after_commit(
    session: Session | scoped_session[Session], action: Callable[[], object], *, once: str | None = None
) -> None:
    """Run `action` after the outermost commit of `session`, in the order of these calls.

    A rollback drops what was added in the transaction, or in the savepoint and those inside it, that it rolls back. So
    does closing the session. Seen are the savepoints of ``Session.begin_nested()``, not those written as SQL.

    ``session.commit()`` raises the first exception of an action, and the actions after it do not run; the commit
    stands. An action may use the session, and may add actions to those that run.

    once: a name; of the actions of one commit with this name, only the first runs.

    Raises:
        UnusableSession: `session` is none of SQLAlchemy's ORM, or an AsyncSession.
        JoinedTransaction: a commit of `session` does not commit its transaction. Raised here for a savepoint of the
            connection, otherwise by ``session.commit()``.
    """
    if isinstance(session, scoped_session):
        session = session.registry()
    if not isinstance(session, Session):
        raise UnusableSession(
            f"after_commit() needs a sqlalchemy.orm.Session, not {type(session).__name__}; with an AsyncSession call "
            "it inside of run_sync()"
        )
    if once is not None:
        action = _Once(once, action)
    outbox: _Outbox | None = session.info.get(_OUTBOX)
    if outbox and outbox.running is not None and not session.in_transaction():
        outbox.running.append(action)
        return
    # Begins the transaction if nothing has yet: SQLAlchemy reports no end of a transaction that never began.
    connection = session.connection()
    innermost = _innermost(session)
    if connection.in_nested_transaction() and not innermost.nested:
        raise JoinedTransaction
    if outbox is None:
        outbox = session.info[_OUTBOX] = _Outbox(connection)
    outbox.connection = connection
    outbox.waiting.setdefault(innermost, []).append(action)


@event.listens_for(Session, "after_commit")
def _keep_committed(session: Session) -> None:
    """Pass the actions of a released savepoint to the transaction around it; keep those of the outermost to run."""
    outbox: _Outbox | None = session.info.get(_OUTBOX)
    if outbox is None or not (actions := outbox.waiting.pop(_innermost(session), None)):
        return
    if session.in_nested_transaction():
        outbox.waiting.setdefault(_around(_innermost(session)), []).extend(actions)
    else:
        # The connection's own transaction, which the session has joined, may still be rolled back.
        outbox.committed = [_refuse] if outbox.connection.in_transaction() else actions


@event.listens_for(Session, "after_transaction_end")
def _run_committed(session: Session, ended: SessionTransaction) -> None:
    """Drop the actions of a transaction or savepoint that was not committed; run those of the outermost commit.

    Run here, because in ``after_commit`` a session cannot be used, and after an exception not even later.
    """
    outbox: _Outbox | None = session.info.get(_OUTBOX)
    if outbox is None:
        return
    outbox.waiting.pop(ended, None)
    if ended.parent is None and outbox.committed:
        actions, outbox.committed = outbox.committed, []
        outer, outbox.running = outbox.running, actions
        try:
            _run(actions)
        finally:
            outbox.running = outer


def _run(actions: list[Callable[[], object]]) -> None:
    names: set[str] = set()
    for number, action in enumerate(actions, start=1):
        if isinstance(action, _Once):
            if action.name in names:
                continue
            names.add(action.name)
        try:
            action()
        except BaseException as error:
            if skipped := len(actions) - number:
                error.add_note(f"the transaction is committed; {skipped} further actions after it did not run")
            raise


def _refuse() -> None:
    raise JoinedTransaction


def _innermost(session: Session) -> SessionTransaction:
    """Return the innermost savepoint, or the transaction if there is none."""
    innermost = session.get_nested_transaction() or session.get_transaction()
    assert innermost is not None  # noqa: S101 - both callers are inside a transaction
    return innermost


def _around(savepoint: SessionTransaction) -> SessionTransaction:
    """Return the savepoint or transaction in which `savepoint` lies; between them may be those of a flush."""
    outer = savepoint.parent
    while outer is not None and outer.parent is not None and not outer.nested:
        outer = outer.parent
    return outer or savepoint
