"""Instants and durations, as production data and command lines write them."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from duetime.errors import BadUsage

S_NS: Final = 1_000_000_000
LATEST_NS: Final = 9_000_000_000 * S_NS
"""In the year 2255. Later instants do not fit into 64 bits of nanoseconds."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_UNITS: Final = ((10**8, 10**11, S_NS), (10**11, 10**14, 10**6), (10**14, 10**17, 10**3), (10**17, 10**20, 1))
"""Lower and upper end of the numbers that are seconds, milli-, micro- and nanoseconds, and their nanoseconds.

Each unit covers 1973 to 2255 and more, so a number has one meaning.
"""
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])", flags=re.ASCII)
_DURATION_UNITS: Final = {"ms": 10**6, "s": S_NS, "m": 60 * S_NS, "h": 3600 * S_NS, "d": 86400 * S_NS}


class Instants:
    """Reads instants, as nanoseconds since 1970. zone: of times without one; None if these are refused."""

    def __init__(self, zone: str | None = None) -> None:
        self.zone = _zone(zone) if zone else None

    def read(self, value: object) -> int:
        """Return the instant `value`: ISO 8601, a number since 1970, or a ``datetime``.

        Raises:
            ValueError: it is none, or has no time zone, or is not one instant in its zone. The message has the fix.
        """
        if isinstance(value, str):
            text = value.strip()
            instant_ns = self._number_of(text) if text.isdigit() else self._text(text)
        elif isinstance(value, datetime):
            instant_ns = self._datetime(value)
        elif isinstance(value, int | float | Decimal) and not isinstance(value, bool):
            instant_ns = _number(Decimal(str(value)))
        elif isinstance(value, date):
            instant_ns = self._datetime(datetime.combine(value, time()))
        else:
            raise ValueError(f"{value!r} is no time; write ISO 8601 or a number since 1970")  # noqa: TRY004
        if not 0 < instant_ns < LATEST_NS:
            raise ValueError(f"{str(value)!r} is outside 1970 to 2255; leave out rows that are never due")
        return instant_ns

    def _text(self, text: str) -> int:
        try:
            value = datetime.fromisoformat(text)
        except ValueError:
            return self._number_of(text)
        return self._datetime(value)

    @staticmethod
    def _number_of(text: str) -> int:
        try:
            return _number(Decimal(text))
        except InvalidOperation:
            raise ValueError(
                f"{text!r} is no time; write ISO 8601 with a zone, for instance 2030-01-31T09:00:00Z, or s, ms, us or "
                "ns since 1970"
            ) from None

    def _datetime(self, value: datetime) -> int:
        if value.tzinfo is None:
            value = self._in_zone(value)
        since = value - _EPOCH
        return (since.days * 86400 + since.seconds) * S_NS + since.microseconds * 1000

    def _in_zone(self, value: datetime) -> datetime:
        if self.zone is None:
            raise ValueError(f"'{value}' has no time zone; export it with one, or name its zone with --zone")
        aware = value.replace(tzinfo=self.zone)
        before, after = aware.utcoffset(), aware.replace(fold=1).utcoffset()
        if before != after:
            what = "does not exist" if (before or timedelta()) < (after or timedelta()) else "occurs twice"
            raise ValueError(f"'{value}' {what} in {self.zone}, where clocks change; export it with an offset")
        return aware


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadUsage(f"--zone {name!r}: no such time zone; write UTC or a name such as Europe/Berlin") from None


def _number(number: Decimal) -> int:
    if number.is_finite():
        for lowest, highest, unit_ns in _EPOCH_UNITS:
            if lowest <= number < highest:
                return int(number * unit_ns)
    raise ValueError(f"{number} is no time; write s, ms, us or ns since 1970, of an instant after 1973")


def parse_duration(option: str, text: str) -> int:
    """Return the duration `text`, the value of `option`, in nanoseconds.

    Raises:
        BadUsage: it is not a number with a unit.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise BadUsage(f"{option} {text!r}: write a number and a unit, for instance 500ms, 90s, 10m, 48h or 30d")
    return int(Decimal(match[1]) * _DURATION_UNITS[match[2]])


def shown(instant_ns: int, zone: ZoneInfo | None = None) -> str:
    """Return the instant in `zone` (UTC), to the millisecond where it has a fraction."""
    seconds, rest_ns = divmod(instant_ns, S_NS)
    at = (_EPOCH + timedelta(seconds=seconds)).astimezone(zone or UTC)
    fraction = f".{rest_ns // 10**6:03}" if rest_ns >= 10**6 else ""
    offset = at.strftime("%z")
    return f"{at:%Y-%m-%d %H:%M:%S}{fraction}{'Z' if offset == '+0000' else offset}"


def span(length_ns: int) -> str:
    """Return a length of time in the unit that suits its size."""
    if length_ns < S_NS:
        return f"{length_ns / 10**6:.0f} ms" if length_ns >= 10**6 or not length_ns else "less than 1 ms"
    for unit, unit_ns in (("d", 86400 * S_NS), ("h", 3600 * S_NS), ("min", 60 * S_NS)):
        if length_ns >= 2 * unit_ns:
            return f"{_short(length_ns / unit_ns)} {unit}"
    return f"{_short(length_ns / S_NS)} s"


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
