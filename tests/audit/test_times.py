"""Times as production writes them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from duetime.audit.times import Instants, parse_duration, shown, span
from duetime.errors import BadUsage

AT_NS = 1_773_144_000 * 10**9  # 2026-03-10T12:00:00Z


@pytest.mark.parametrize(
    "value",
    [
        "2026-03-10T12:00:00Z",
        "2026-03-10 12:00:00+00",
        " 2026-03-10T13:00:00.000+01:00 ",
        "1773144000",
        "1773144000.0",
        1773144000,
        1773144000.0,
        Decimal(1773144000),
        "1773144000000",
        "1773144000000000",
        "1773144000000000000",
        datetime(2026, 3, 10, 12, tzinfo=UTC),
    ],
)
def test_every_format_gives_the_same_instant(value: object) -> None:
    assert Instants().read(value) == AT_NS


def test_fractions_are_kept() -> None:
    assert Instants().read("1773144000.000000001") == AT_NS + 1
    assert Instants().read("1773144000000.5") == AT_NS + 500_000
    assert Instants().read("2026-03-10T12:00:00.000001Z") == AT_NS + 1000


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("2026-03-10T12:00:00", "has no time zone.*--zone"),
        ("yesterday", "is no time; write ISO 8601"),
        ("12", "of an instant after 1973"),
        ("NaN", "is no time"),
        ("infinity", "is no time"),
        (True, "is no time"),
        ([], "is no time"),
        ("9999-12-31T00:00:00Z", "outside 1970 to 2255; leave out"),
        ("1960-01-01T00:00:00Z", "outside 1970 to 2255"),
    ],
)
def test_what_is_no_instant_is_refused_with_the_fix(value: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Instants().read(value)


def test_a_zone_gives_naive_times_their_instant_summer_and_winter() -> None:
    berlin = Instants("Europe/Berlin")

    assert berlin.read("2026-03-10T13:00:00") == AT_NS
    assert berlin.read("2026-07-10T14:00:00") == Instants().read("2026-07-10T12:00:00Z")
    assert berlin.read("2026-03-10T12:00:00Z") == AT_NS


@pytest.mark.parametrize(
    ("value", "says"),
    [("2026-10-25T02:30:00", "occurs twice in Europe/Berlin"), ("2026-03-29T02:30:00", "does not exist")],
)
def test_where_clocks_change_a_naive_time_is_refused(value: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Instants("Europe/Berlin").read(value)


def test_an_unknown_zone_is_refused() -> None:
    with pytest.raises(BadUsage, match="--zone 'Mars/Base'"):
        Instants("Mars/Base")


def test_durations() -> None:
    assert [parse_duration("--x", text) for text in ("50ms", "1.5s", "2m", "1h", "1d")] == [
        50 * 10**6,
        1_500 * 10**6,
        120 * 10**9,
        3600 * 10**9,
        86400 * 10**9,
    ]
    with pytest.raises(BadUsage, match="--x '5': write a number and a unit"):
        parse_duration("--x", "5")


def test_what_is_shown() -> None:
    assert shown(AT_NS + 5 * 10**6) == "2026-03-10 12:00:00.005Z"
    assert shown(AT_NS, Instants("Europe/Berlin").zone) == "2026-03-10 13:00:00+0100"
    assert [span(length) for length in (0, 10, 250 * 10**6, 90 * 10**9, 600 * 10**9, 7200 * 10**9)] == [
        "0 ms",
        "less than 1 ms",
        "250 ms",
        "90 s",
        "10 min",
        "2 h",
    ]
