"""What every scheduler checks before it sends anything: the session, and the arguments of a cancel."""

from __future__ import annotations

from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import Session, scoped_session
from sqlalchemy.util.concurrency import in_greenlet

from duetime import limits
from duetime.errors import UnusableSession

ASYNC = "write `await notifications.schedule_async(…, session=session)`, or cancel_async"
INSTEAD = {
    "AsyncSession": ASYNC,
    "async_scoped_session": ASYNC,
    "AsyncConnection": "write an AsyncSession and schedule_async or cancel_async",
    "Connection": "write Session(connection); designs that publish after the commit also need the session to begin the "
    "transaction",
    "sessionmaker": "call it: session=make_session()",
    "Engine": "write Session(engine), and commit it",
}


def usable_session(session: Session | scoped_session[Session]) -> Session:
    """Return the session itself, in a transaction that a call can take part in.

    Raises:
        UnusableSession: it is no session, or its commit would not be the acknowledgement.
    """
    if isinstance(session, scoped_session):
        session = session()
    if not isinstance(session, Session):
        names = [kind.__name__ for kind in type(session).__mro__]
        instead = next((INSTEAD[name] for name in names if name in INSTEAD), "write a sqlalchemy.orm.Session")
        raise UnusableSession(f"session is {limits.shown(session)} of type {names[0]}; {instead}")
    if session.twophase:
        raise UnusableSession(
            "session has twophase=True, and PostgreSQL cannot prepare a transaction that has sent a NOTIFY; "
            "write a session without it"
        )
    _check_connection(session)
    return session


def _check_connection(session: Session) -> None:
    """Begin the session's transaction, and check that it is one of PostgreSQL's which its commit ends."""
    try:
        dialect = session.get_bind().dialect
        if dialect.name != "postgresql":
            raise UnusableSession(f"session is connected to {dialect.name}; write one of the PostgreSQL database")
        if dialect.is_async and not in_greenlet():
            raise UnusableSession(f"session belongs to an AsyncSession and is used outside its run_sync; {ASYNC}")
        driver_connection = session.connection().connection.dbapi_connection
    except InvalidRequestError as error:  # it is closed, needs a rollback, or has no engine
        raise UnusableSession(f"session cannot begin a transaction: {error}") from error
    if driver_connection is not None and dialect.detect_autocommit_setting(driver_connection):
        raise UnusableSession(
            "session has the isolation level AUTOCOMMIT, so a call would take effect without its commit; write one "
            "with another level"
        )


def check_cancel(key: str, revision: int) -> None:
    """Check the arguments of a cancel, which would find nothing under a key that cannot be scheduled.

    Raises:
        BadNotification: an argument is outside the limits of ``duetime.limits``.
    """
    limits.plain_revision(limits.plain_key(key), revision)
