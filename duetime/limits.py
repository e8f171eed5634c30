"""The limits of a notification: what every design can store."""

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
"""The largest value of PostgreSQL's ``integer``."""

_ENCODER = json.JSONEncoder(allow_nan=False, ensure_ascii=False)

_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""An escaped NUL in JSON text. After an even number of backslashes ``u0000`` is ordinary text."""


def check_key(key: str) -> None:
    if not 1 <= len(key) <= MAX_KEY_LENGTH:
        raise BadNotification(
            f"a key has 1 to {MAX_KEY_LENGTH} characters, {key[:20]!r}… has {len(key)}; "
            "write the kind and an id, as in 'event-reminder:42:7'"
        )


def check_revision(key: str, revision: int) -> None:
    if not 1 <= revision <= MAX_REVISION:
        raise BadNotification(
            f"the revision of {key!r} is {revision}; revisions count up from 1, to at most {MAX_REVISION}"
        )


def check_text(key: str, field: str, text: str) -> None:
    try:
        text.encode()
        storable = "\0" not in text
    except UnicodeEncodeError:
        storable = False
    if not storable:
        raise BadNotification(f"the {field} of {key!r} has a NUL character or half a surrogate pair; remove it")


def check_due_at(key: str, due_at: datetime) -> None:
    if due_at.utcoffset() is None:
        raise NaiveDueTime(key, due_at)
    try:
        due_at.astimezone(UTC)
    except OverflowError:
        raise BadNotification(
            f"due_at of {key!r} is {due_at.isoformat()}, outside the years 1 to 9999 in UTC; write a time inside them"
        ) from None


def check_payload(key: str, payload: Mapping[str, Any]) -> None:
    try:
        encoded = _ENCODER.encode(dict(payload))
        size = len(encoded.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise BadNotification(
            f"the payload of {key!r} is not JSON ({error}); use only str, int, float, bool, None, list and dict"
        ) from error
    if size > MAX_PAYLOAD_BYTES:
        raise BadNotification(
            f"the payload of {key!r} is {size} bytes, the limit is {MAX_PAYLOAD_BYTES}; "
            "store the data elsewhere and write its id"
        )
    if _NUL.search(encoded):
        raise BadNotification(f"the payload of {key!r} has a NUL character, which PostgreSQL cannot store; remove it")
