"""What every design can carry: the bounds of a notification, and the errors that name them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from duetime.errors import BadNotification, NaiveDueTime

MAX_KEY_LENGTH = 200
MAX_PAYLOAD_BYTES = 64 * 1024
MAX_REVISION = 2**31 - 1
"""PostgreSQL's integer."""

_WRITTEN = json.JSONEncoder(allow_nan=False, ensure_ascii=False)

_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""NUL as JSON writes it; with an even number of backslashes before the u it is text about NUL."""


def check_key(key: str) -> None:
    if not 1 <= len(key) <= MAX_KEY_LENGTH:
        raise BadNotification(
            f"a key has 1 to {MAX_KEY_LENGTH} characters, {key[:20]!r}… has {len(key)}; "
            "name the thing and its id, as in 'event-reminder:42:7'"
        )


def check_revision(key: str, revision: int) -> None:
    if not 1 <= revision <= MAX_REVISION:
        raise BadNotification(f"revision {revision} of {key!r}: revisions count up from 1 to {MAX_REVISION}")


def check_text(key: str, field: str, text: str) -> None:
    try:
        text.encode()
        writable = "\0" not in text
    except UnicodeEncodeError:
        writable = False
    if not writable:
        raise BadNotification(f"the {field} of {key!r} has a NUL or half a surrogate pair in it; remove it")


def check_due_at(key: str, due_at: datetime) -> None:
    if due_at.utcoffset() is None:
        raise NaiveDueTime(key, due_at)
    try:
        due_at.astimezone(UTC)
    except OverflowError:
        raise BadNotification(
            f"the due time of {key!r}, {due_at.isoformat()}, is outside of the years 1 to 9999 in UTC; write one inside"
        ) from None


def check_payload(key: str, payload: Mapping[str, Any]) -> None:
    try:
        written = _WRITTEN.encode(dict(payload))
        size = len(written.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise BadNotification(
            f"the payload of {key!r} is not JSON ({error}); use str, int, float, bool, None, list, dict"
        ) from error
    if size > MAX_PAYLOAD_BYTES:
        raise BadNotification(
            f"the payload of {key!r} is {size} bytes, the limit is {MAX_PAYLOAD_BYTES}; "
            "store it elsewhere and pass its id"
        )
    if _NUL.search(written):
        raise BadNotification(f"the payload of {key!r} has a NUL in it, which PostgreSQL cannot keep; remove it")
