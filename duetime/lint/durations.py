"""Durations with a unit: ``90s``, ``10m``, ``48h``, ``30d``."""

from __future__ import annotations

import re
from datetime import timedelta

from duetime.errors import BadUsage

UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1), "s": timedelta(seconds=1)}


def duration(option: str, text: str) -> timedelta:
    """Parse `text`, the value of `option`.

    Raises:
        BadUsage: it is not a number with a unit, or exceeds ``timedelta``.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip(), flags=re.ASCII)
    if match is None:
        raise BadUsage(f"{option} {text!r}: write a number and a unit, for instance 90s, 10m, 48h or 30d")
    try:
        return float(match[1]) * UNITS[match[2]]
    except OverflowError:
        raise BadUsage(f"{option} {text!r}: too long; write at most 999999999d") from None


def format_duration(length: timedelta) -> str:
    """Return `length` in the largest unit that needs no fraction."""
    for name, unit in UNITS.items():
        if length >= unit and length % unit == timedelta(0):
            return f"{length // unit}{name}"
    return f"{length.total_seconds():g}s"
