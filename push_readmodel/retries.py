"""When a failed delivery is tried again, and how its error is stored."""

from __future__ import annotations

import threading
from asyncio import CancelledError
from datetime import timedelta

FIRST_RETRY = timedelta(seconds=1)
LONGEST_RETRY = timedelta(hours=1)


def retry_after(attempts: int) -> timedelta:
    """Return 1 s, 2 s, 4 s … up to an hour."""
    doubled: int = 2 ** min(attempts, 20)
    return min(FIRST_RETRY * doubled, LONGEST_RETRY)


def concerns_one_delivery(error: BaseException) -> bool:
    """Return False for an error that must end the worker.

    A library that a gateway calls may exit, or cancel a task of its own. In the main thread an exit may also come from
    a signal handler.
    """
    if isinstance(error, SystemExit):
        return threading.current_thread() is not threading.main_thread()
    return isinstance(error, Exception | CancelledError)


def error_text(error: BaseException, *, ascii_only: bool) -> str:
    """Return `error` as a text that PostgreSQL can store. ascii_only: in a database of any encoding."""
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - an error whose own __str__ raises
        text = type(error).__name__
    encoded = text.encode("ascii", "backslashreplace") if ascii_only else text.encode(errors="replace")
    return encoded.decode().replace("\0", "")[:500]
