"""The limits of a notification: what every design stores exactly and delivers equal.

Each function returns the value as the plain type that is stored, or raises `BadNotification` with what to write
instead. Nothing has been sent by then.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from reprlib import Repr
from typing import TYPE_CHECKING, Any

from duetime.errors import BadNotification, NaiveDueTime, RevisionReused

if TYPE_CHECKING:
    from duetime.interface import Notification

MAX_KEY_LENGTH = 200
MAX_KIND_LENGTH = 200
MAX_RECIPIENT_LENGTH = 2000
"""Long enough for the URL of a push service."""
MAX_PAYLOAD_BYTES = 64 * 1024
MAX_PAYLOAD_DEPTH = 100
"""PostgreSQL and Python's decoder both end at some depth, which depends on the stack that is left."""
MAX_REVISION = 2**31 - 1
"""The largest value of PostgreSQL's ``integer``."""
EARLIEST_DUE = datetime(1, 1, 2, tzinfo=UTC)
LATEST_DUE = datetime(9999, 12, 30, 23, 59, 59, 999999, tzinfo=UTC)
"""A day inside the years 1 to 9999, so that a reader in any time zone can show the time: Celery drops a task whose ETA
its own zone cannot show."""
EXACT_FLOATS_BELOW = 1e16
"""From here on PostgreSQL writes a number without exponent, and its reader takes it for an integer."""
KOMBU_ENVELOPE = {"__type__", "__value__"}
"""kombu's JSON decodes an object with exactly these keys into another type, and drops the message if it cannot."""

INVISIBLE = {"Cc", "Cf", "Zl", "Zp", "Zs"}
"""Unicode categories of control and format characters, separators and spaces."""
BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters, marks and symbols that show nothing: fillers of Hangul, two vowels of Khmer, the empty Braille pattern."""

_ENCODER = json.JSONEncoder(allow_nan=False, ensure_ascii=False)
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""An escaped NUL in JSON text. After an even number of backslashes ``u0000`` is ordinary text."""


class _Short(Repr):
    """Shortens values for an error, but not a time, whose end may be all that differs."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 60

    def repr_datetime(self, value: datetime, _level: int) -> str:
        return value.isoformat()


_SHORT = _Short()


def plain_key(key: str) -> str:
    """Return `key`, which is compared by its code points: texts that look the same must not be two keys."""
    # Most keys, without the cost of the checks below.
    if type(key) is str and key.isascii() and key.isprintable() and key == key.strip() and _fits(key):
        return key
    key = plain_text(
        key, "key", key, most=MAX_KEY_LENGTH, example="write the kind and an id, as in 'event-reminder:42:7'"
    )
    if not unicodedata.is_normalized("NFC", key):
        raise BadNotification(
            f"the key {key!a} is not in Unicode's composed form, so a key that looks the same would be another "
            "one; write unicodedata.normalize('NFC', key)"
        )
    hidden = any(c in BLANK or (c != " " and unicodedata.category(c) in INVISIBLE) for c in key)
    if hidden or key != key.strip():
        raise BadNotification(
            f"the key {key!a} has a space at an end, or a character that is not visible, so a key that looks the "
            "same would be another one; remove it"
        )
    return key


def _fits(key: str) -> bool:
    return 0 < len(key) <= MAX_KEY_LENGTH


def plain_text(key: object, field: str, text: str, *, most: int, example: str) -> str:
    """Return `text` of a field with 1 to `most` characters. example: what to write instead, for the error."""
    if not isinstance(text, str):
        raise BadNotification(f"the {field} of {shown(key)} is {_typed(text)}; write a str")
    if not 1 <= len(text) <= most:
        raise BadNotification(f"a {field} has 1 to {most} characters, {shown(text)} has {len(text)}; {example}")
    try:
        storable = text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        storable = False
    if not storable or "\0" in text:
        raise BadNotification(f"the {field} of {key!r} has a NUL character or half a surrogate pair; remove it")
    return str.__str__(text)


def plain_kind(key: str, kind: str) -> str:
    return plain_text(key, "kind", kind, most=MAX_KIND_LENGTH, example="write a name, as in 'event-reminder'")


def plain_recipient(key: str, recipient: str) -> str:
    example = "write the address for the gateway"
    return plain_text(key, "recipient", recipient, most=MAX_RECIPIENT_LENGTH, example=example)


def plain_revision(key: str, revision: int) -> int:
    if not isinstance(revision, int) or isinstance(revision, bool):
        raise BadNotification(
            f"the revision of {key!r} is {_typed(revision)}; write an int that rises with every change, as in "
            "revision=3"
        )
    if not 1 <= revision <= MAX_REVISION:
        raise BadNotification(
            f"the revision of {key!r} is {shown(revision)}; revisions count up from 1, to at most {MAX_REVISION}"
        )
    return int(revision)


def due_in_utc(key: str, due_at: datetime) -> datetime:
    """Return the same instant in UTC: PostgreSQL refuses some offsets, and a time zone's rules may change later."""
    if not isinstance(due_at, datetime):
        raise BadNotification(
            f"due_at of {key!r} is {_typed(due_at)}; write a timezone-aware datetime, for instance "
            "datetime(2030, 1, 1, 9, 0, tzinfo=UTC)"
        )
    if type(due_at) is not datetime:
        due_at = _plain_datetime(key, due_at)
    if due_at.tzinfo is not UTC:
        due_at = _to_utc(key, due_at)
    if not EARLIEST_DUE <= due_at <= LATEST_DUE:
        raise _outside_years(key, due_at)
    return due_at


def plain_payload(key: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy, so that a change of the caller's object does not change what is scheduled."""
    if not isinstance(payload, Mapping):
        raise BadNotification(f"the payload of {key!r} is {_typed(payload)}; write a dict, as in {{'event': 42}}")
    copy: dict[str, Any] = _plain_json(key, payload if isinstance(payload, dict) else dict(payload), 1)
    if not copy:
        return copy
    try:
        encoded = _ENCODER.encode(copy)
        size = len(encoded.encode())
    except ValueError as error:
        raise _not_json(key, str(error)) from error
    if size > MAX_PAYLOAD_BYTES:
        raise BadNotification(
            f"the payload of {key!r} is {size} bytes, the limit is {MAX_PAYLOAD_BYTES}; "
            "store the data elsewhere and write its id"
        )
    if "\\u0000" in encoded and _NUL.search(encoded):
        raise BadNotification(f"the payload of {key!r} has a NUL character, which PostgreSQL cannot store; remove it")
    return copy


def newest_revisions(notifications: Iterable[Notification]) -> list[Notification]:
    """Return the newest revision of each key, ordered by key.

    In this order two callers lock the same rows in the same order, and do not deadlock.

    Raises:
        RevisionReused: two of them have the same key and revision, and different content.
    """
    first: dict[tuple[str, int], Notification] = {}
    for notification in notifications:
        other = first.setdefault((notification.key, notification.revision), notification)
        if other is not notification:
            check_same_content(notification, other)
    # The last revision of each key in this order is its newest.
    newest = {key: first[key, revision] for key, revision in sorted(first)}
    return list(newest.values())


def check_same_content(notification: Notification, stored: Notification) -> None:
    """Check that a repeated call has the content of the first.

    Raises:
        RevisionReused: it has another.
    """
    names = [one.name for one in fields(notification)]
    before, now = ({name: getattr(one, name) for name in names} for one in (stored, notification))
    differences = [
        f"{name} {shown(before[name])}, now {shown(now[name])}"
        for name in names
        if not _same_content(before[name], now[name])
    ]
    if differences:
        raise RevisionReused(notification.key, notification.revision, differences)


def shown(value: object) -> str:
    """Return a short text of any value for an error, also of one whose own ``repr`` fails."""
    try:
        return _SHORT.repr(value)
    except Exception:  # noqa: BLE001 - for instance of an int with too many digits to print
        return "a value that cannot be printed"


def _same_content(before: Any, now: Any) -> bool:
    """Return True if both are the same JSON. As in PostgreSQL, 1 and 1.0 are; unlike in Python, 1 and true are not."""
    if isinstance(before, dict) and isinstance(now, dict):
        return before.keys() == now.keys() and all(_same_content(before[name], now[name]) for name in before)
    if isinstance(before, list) and isinstance(now, list):
        return len(before) == len(now) and all(map(_same_content, before, now))
    return bool(before == now) and isinstance(before, bool) == isinstance(now, bool)


def _typed(value: object) -> str:
    return f"{shown(value)} of type {type(value).__name__}"


def _plain_datetime(key: str, due_at: datetime) -> datetime:
    """Return a subclass of datetime as a plain one, unless it holds more, such as nanoseconds."""
    at = due_at
    try:
        plain = datetime(
            at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond, tzinfo=at.tzinfo, fold=at.fold
        )
        exact = plain == due_at
    except Exception as error:
        raise BadNotification(f"due_at of {key!r} is {_typed(due_at)}, which is no time: {error}") from error
    if not exact:
        raise BadNotification(
            f"due_at of {key!r} is {_typed(due_at)}, finer than a microsecond; round it to a datetime.datetime"
        )
    return plain


def _to_utc(key: str, due_at: datetime) -> datetime:
    try:
        offset = due_at.utcoffset()
        if offset is not None:
            return due_at.astimezone(UTC)
    except OverflowError:
        raise _outside_years(key, due_at) from None
    except Exception as error:
        raise BadNotification(
            f"due_at of {key!r} has a time zone that fails ({type(error).__name__}: {error}); write it with tzinfo=UTC"
        ) from error
    raise NaiveDueTime(key, due_at)


def _outside_years(key: str, due_at: datetime) -> BadNotification:
    return BadNotification(
        f"due_at of {key!r} is {due_at.isoformat()}; write a time from 2 January of year 1 to 30 December 9999 in UTC"
    )


def _plain_json(key: str, value: Any, depth: int) -> Any:
    """Return a copy of `value` in the types that a JSON decoder returns."""
    if value is None or type(value) in (str, bool, int):
        return value
    if depth > MAX_PAYLOAD_DEPTH:
        raise _not_json(key, f"it is nested more than {MAX_PAYLOAD_DEPTH} deep")
    if isinstance(value, dict):
        return _plain_object(key, value, depth)
    if isinstance(value, list):
        return [_plain_json(key, item, depth + 1) for item in value]
    if isinstance(value, float):
        if not abs(value) < EXACT_FLOATS_BELOW:
            raise _not_json(key, f"{value!r} is read back as something else; write an int or a str")
        return float(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    raise _not_json(key, f"it has {_typed(value)}")


def _plain_object(key: str, value: dict[Any, Any], depth: int) -> dict[str, Any]:
    copy = {}
    for name, item in value.items():
        if not isinstance(name, str):
            raise _not_json(key, f"it has the key {_typed(name)}, which becomes a str; write a str")
        copy[name if type(name) is str else str.__str__(name)] = _plain_json(key, item, depth + 1)
    if copy.keys() == KOMBU_ENVELOPE:
        raise _not_json(key, "an object with exactly the keys '__type__' and '__value__' is kombu's own; rename one")
    return copy


def _not_json(key: str, reason: str) -> BadNotification:
    return BadNotification(
        f"the payload of {key!r} is not JSON ({reason}); use only str, int, float, bool, None, list and dict, and only "
        "str as keys"
    )
