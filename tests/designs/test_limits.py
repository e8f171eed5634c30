"""What no design could store exactly is refused when the notification is made, with what to write instead."""

from __future__ import annotations

import unicodedata
from collections import OrderedDict, UserDict
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from fractions import Fraction
from types import MappingProxyType
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from duetime.app.tables import User
from duetime.errors import BadNotification, NaiveDueTime
from duetime.interface import Notification
from duetime.limits import BLANK
from push_readmodel.scheduler import ReadModelScheduler
from push_readmodel.schema import metadata
from tests.designs.read_model import stored

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
GOOD = Notification(key="event-reminder:42:7", revision=1, kind="event-reminder", recipient="a@b.example", due_at=NOON)


class Kind(StrEnum):
    REMINDER = "reminder"


class OldKind(str, Enum):  # noqa: UP042 - its own str() is not its value
    REMINDER = "reminder"


class Step(IntEnum):
    FIRST = 1


class Point(NamedTuple):
    x: int
    y: int


class Index:
    """A number of another library, such as numpy.int64: it can be an index, and is no int."""

    def __index__(self) -> int:
        return 3


class Timestamp(datetime):
    """A datetime with nanoseconds, such as that of pandas."""

    nanosecond = 0

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) and self.nanosecond == 0

    __hash__ = None  # type: ignore[assignment]


class FineTimestamp(Timestamp):
    nanosecond = 7


class NotATime(datetime):
    """Such as pandas.NaT, which is of a subclass of datetime."""

    @property
    def year(self) -> float:  # type: ignore[override]
        return float("nan")


class UnknownZone(tzinfo):
    """A zone that does not know its offset."""

    def utcoffset(self, _at: datetime | None) -> timedelta | None:
        return None

    def dst(self, _at: datetime | None) -> timedelta | None:
        return None

    def tzname(self, _at: datetime | None) -> str | None:
        return None


class BrokenZone(UnknownZone):
    """A zone that refuses an ambiguous time."""

    def utcoffset(self, _at: datetime | None) -> timedelta | None:
        raise LookupError("ambiguous time")


def refused(message: str, **field: Any) -> str:
    """Return the error of a notification with this field, which has to match `message`."""
    with pytest.raises(BadNotification, match=message) as error:
        replace(GOOD, **field)
    assert len(str(error.value)) < 500
    return str(error.value)


@pytest.mark.parametrize("due_at", [date(2030, 1, 1), "2030-01-01T12:00:00Z", None, 1_893_499_200, NOON.time()])
def test_a_due_time_that_is_no_datetime_is_refused_with_an_example(due_at: object) -> None:
    refused(
        rf"due_at of 'event-reminder:42:7' is .* of type {type(due_at).__name__}; write .*tzinfo=UTC", due_at=due_at
    )


def test_a_datetime_subclass_is_kept_as_a_plain_datetime_unless_it_is_finer() -> None:
    at = replace(GOOD, due_at=Timestamp(2030, 1, 1, 12, tzinfo=UTC)).due_at

    assert (type(at), at) == (datetime, NOON)
    refused("finer than a microsecond; round it", due_at=FineTimestamp(2030, 1, 1, 12, tzinfo=UTC))
    refused("which is no time", due_at=NotATime(2030, 1, 1, tzinfo=UTC))


def test_a_zone_without_an_offset_is_naive_and_one_that_fails_is_named() -> None:
    with pytest.raises(NaiveDueTime):
        replace(GOOD, due_at=NOON.replace(tzinfo=UnknownZone()))
    broken = NOON.replace(tzinfo=BrokenZone())
    refused(r"a time zone that fails \(LookupError: ambiguous time\); write it with tzinfo=UTC", due_at=broken)


@pytest.mark.parametrize(
    "offset", [timedelta(hours=20), timedelta(hours=-23, minutes=-59), timedelta(minutes=5, seconds=30, microseconds=1)]
)
def test_an_offset_that_postgresql_refuses_is_the_same_instant_in_utc(offset: timedelta) -> None:
    at = replace(GOOD, due_at=NOON.astimezone(timezone(offset))).due_at

    assert (at.isoformat(), at.tzinfo) == ("2030-01-01T12:00:00+00:00", UTC)


def test_both_halves_of_the_repeated_hour_are_kept_apart() -> None:
    twice = datetime(2030, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    first, second = (replace(GOOD, due_at=twice.replace(fold=fold)).due_at for fold in (0, 1))

    assert (first, second - first) == (datetime(2030, 10, 27, 0, 30, tzinfo=UTC), timedelta(hours=1))


@pytest.mark.parametrize("revision", [1.5, 1.0, "3", True, None, Decimal(3), Fraction(3), Index(), float("nan")])
def test_a_revision_that_is_no_int_is_refused(revision: object) -> None:
    refused(f"of type {type(revision).__name__}; write an int that rises with every change", revision=revision)


@pytest.mark.parametrize("field", ["key", "kind", "recipient"])
@pytest.mark.parametrize("text", [b"a", 7, None, ["a"]])
def test_a_text_that_is_no_str_is_refused(field: str, text: object) -> None:
    refused(rf"the {field} of .* is .* of type {type(text).__name__}; write a str", **{field: text})


@pytest.mark.parametrize(("field", "most"), [("kind", 200), ("recipient", 2000)])
def test_a_text_that_is_empty_or_too_long_is_refused(field: str, most: int) -> None:
    for text in ("", "x" * (most + 1)):
        refused(f"a {field} has 1 to {most} characters, .* has {len(text)}; write", **{field: text})


def test_a_key_that_differs_only_in_unicode_normalisation_is_refused() -> None:
    composed = unicodedata.normalize("NFC", "café")
    assert replace(GOOD, key=composed).key == composed

    refused(r"the key 'cafe\\u0301' is not .*write unicodedata.normalize\('NFC', key\)", key="cafe\u0301")


@pytest.mark.parametrize(
    "key", [" a", "a ", "a\n", "a\u200bb", "\ufeffa", "a\u00a0b", "a\u202eb", "a\tb", "\u3000", *BLANK]
)
def test_a_key_that_looks_like_another_is_refused(key: str) -> None:
    refused("a space at an end, or a character that is not visible.*remove it", key=key)


def test_a_key_may_have_words_and_any_script() -> None:
    for key in ("order 7: unpaid", "Ünïcödé:1", "提醒:42", "🎉:1"):
        assert replace(GOOD, key=key).key == key


def test_an_enum_of_text_or_number_is_kept_as_the_plain_value() -> None:
    for kind in (Kind.REMINDER, OldKind.REMINDER):
        note = replace(
            GOOD, key=kind, kind=kind, recipient=kind, revision=Step.FIRST, payload={kind: [kind, Step.FIRST]}
        )
        assert (note.op, note.to_json()["payload"]) == ("reminder/1", {"reminder": ["reminder", 1]})
        assert {type(value) for value in (note.key, note.kind, note.recipient)} == {str}


@pytest.mark.parametrize("name", [1, None, True, 1.5, (1, 2), b"x"])
def test_a_payload_key_that_is_no_str_is_refused_at_any_depth(name: object) -> None:
    for payload in ({name: 1}, {"list": [{"deep": {name: 1}}]}):
        refused("is not JSON .it has the key .*which becomes a str; write a str", payload=payload)


NOT_JSON = [(1, 2), {1, 2}, Point(1, 2), b"x", Decimal("1.5"), NOON, MappingProxyType({}), UserDict(), object(), 1j]
CHANGED_BY_JSON = [float("nan"), float("inf"), 1e16, -1e300]


@pytest.mark.parametrize("value", [*NOT_JSON, Index(), *CHANGED_BY_JSON, pytest.param(10**5000, id="5001 digits")])
def test_a_payload_value_that_json_changes_or_does_not_know_is_refused(value: object) -> None:
    refused("is not JSON", payload={"list": [value]})


@pytest.mark.parametrize("payload", [[("a", 1)], "{}", None, 7])
def test_a_payload_that_is_no_mapping_is_refused(payload: object) -> None:
    refused(rf"the payload of .* is .* of type {type(payload).__name__}; write a dict", payload=payload)


def test_an_object_that_kombu_would_decode_into_another_type_is_refused() -> None:
    refused("kombu's own; rename one", payload={"x": {"__type__": "datetime", "__value__": "2030-01-01"}})
    replace(GOOD, payload={"__type__": "datetime"})


def test_a_payload_is_refused_from_a_depth_at_which_a_reader_might_fail() -> None:
    payload: dict[str, Any] = {}
    for _ in range(99):
        payload = {"d": payload}
    replace(GOOD, payload=payload)

    refused("nested more than 100 deep", payload={"d": payload})


def test_a_change_of_the_callers_payload_changes_nothing() -> None:
    payload = {"list": [{"n": 1}]}
    note = replace(GOOD, payload=payload)

    payload["list"][0]["n"] = 2

    assert note.payload == {"list": [{"n": 1}]}


def test_mappings_and_exact_numbers_are_accepted() -> None:
    payload = OrderedDict(big=2**100, small=5e-324, minus=-0.0, text="\u2028", nothing=None, yes=True)

    assert replace(GOOD, payload=MappingProxyType(payload)).payload == dict(payload)


def test_the_session_commits_its_other_work_after_a_refusal(engine: Engine) -> None:
    metadata.create_all(engine)
    scheduler = ReadModelScheduler()
    with Session(engine) as session:
        session.add(User(id=1, name="A", address="a@b.example"))
        session.flush()
        scheduler.schedule(GOOD, session=session)
        wrong: dict[str, Any] = {"revision": 1.5}
        with pytest.raises(BadNotification):
            scheduler.schedule(replace(GOOD, **wrong), session=session)
        for key, revision in (("cafe\u0301", 2), ("", 2), (GOOD.key, "2"), (GOOD.key, 2.5), (GOOD.key, 0)):
            with pytest.raises(BadNotification):
                scheduler.cancel(key, revision=revision, session=session)  # type: ignore[arg-type]
        session.commit()

        assert session.scalars(select(User.id)).all() == [1]
    assert stored(engine) == [GOOD.op]


def test_what_an_earlier_version_stored_is_still_delivered() -> None:
    older = {**GOOD.to_json(), "key": "cafe\u0301", "kind": "", "payload": {"__type__": 1, "__value__": 2}}

    assert Notification.from_stored_json(older).key == "cafe\u0301"
    with pytest.raises(BadNotification):
        Notification.from_json(older)
