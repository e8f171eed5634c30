"""The limits of a notification; an error tells what to write instead."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from duetime.errors import ScheduleRejected
from duetime.interface import Notification

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
GOOD = Notification(key="event-reminder:42:7", revision=1, kind="event-reminder", recipient="a@b.example", due_at=NOON)


def test_a_due_time_without_a_time_zone_is_refused_with_an_example() -> None:
    with pytest.raises(ScheduleRejected, match=r"without a time zone.*tzinfo=UTC"):
        replace(GOOD, due_at=NOON.replace(tzinfo=None))


@pytest.mark.parametrize(
    "edge",
    [
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
        datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=12))),
        datetime(1, 1, 1, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(9999, 12, 31, tzinfo=UTC),
    ],
    ids=["before", "after", "first day", "last day"],
)
def test_a_due_time_that_no_zone_or_not_every_zone_can_show_is_refused(edge: datetime) -> None:
    with pytest.raises(ScheduleRejected, match="from 2 January of year 1 to 30 December 9999 in UTC"):
        replace(GOOD, due_at=edge)


@pytest.mark.parametrize("key", ["", "k" * 201, "k" * 10_000])
def test_a_key_that_is_empty_or_too_long_is_refused_in_one_short_sentence(key: str) -> None:
    with pytest.raises(ScheduleRejected, match="a key has 1 to 200 characters") as refused:
        replace(GOOD, key=key)

    assert len(str(refused.value)) < 200


DEEP: list[object] = []
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.mark.parametrize("payload", [{"at": NOON}, {"x": float("nan")}, {"raw": b"x"}, {"d": DEEP}, {"s": "\ud800"}])
def test_a_payload_that_is_not_json_is_refused(payload: dict[str, object]) -> None:
    with pytest.raises(ScheduleRejected, match="is not JSON"):
        replace(GOOD, payload=payload)


def test_a_payload_over_the_limit_is_refused_with_its_size() -> None:
    with pytest.raises(ScheduleRejected, match="is 70012 bytes, the limit is 65536"):
        replace(GOOD, payload={"text": "x" * 70_000})


@pytest.mark.parametrize("revision", [0, -1, 2**31, pytest.param(10**5000, id="5001 digits")])
def test_a_revision_that_cannot_be_stored_is_refused(revision: int) -> None:
    with pytest.raises(ScheduleRejected, match="revisions count up from 1"):
        replace(GOOD, revision=revision)


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
@pytest.mark.parametrize("field", ["key", "kind", "recipient"])
def test_text_that_postgresql_cannot_store_is_refused(field: str, text: str) -> None:
    with pytest.raises(ScheduleRejected, match=f"the {field} of .* has a NUL character or half a surrogate"):
        GOOD.from_json({**GOOD.to_json(), field: text})


def test_a_nul_in_the_payload_is_refused_and_an_escaped_one_is_text() -> None:
    replace(GOOD, payload={"text": "\\u0000 is how JSON writes NUL"})
    with pytest.raises(ScheduleRejected, match="has a NUL character"):
        replace(GOOD, payload={"text": ["\\\0"]})


def test_a_notification_is_the_same_after_json() -> None:
    notification = replace(GOOD, due_at=NOON.astimezone(timezone(timedelta(hours=5))), payload={"n": [1, None, "x"]})

    assert Notification.from_json(notification.to_json()) == notification
