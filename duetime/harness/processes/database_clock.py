"""The clock of a database server of the user's own, measured against this machine's."""

from __future__ import annotations

from typing import NamedTuple

import psycopg

from duetime.clock import Instant, instant
from duetime.harness.processes.external_services import user_connection

MICROSECONDS = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
ROUND_TRIPS = 15
"""The shortest of these bounds the error by half its duration. Most of it is the network's."""


class ClockReading(NamedTuple):
    """By how much the clock of a database server was ahead of this machine's at an instant; behind if negative.

    uncertainty_ns: the offset is within this of `ahead_ns`: half the shortest round trip.
    """

    at: Instant
    ahead_ns: int
    uncertainty_ns: int

    def record(self) -> dict[str, int]:
        """Return the line of clock.jsonl for this reading."""
        own = self.at._asdict()
        return {**own, "database_ahead_ns": self.ahead_ns, "uncertainty_ns": self.uncertainty_ns}


def measure_database_clock(url: str) -> ClockReading:
    """Compare both clocks in several round trips, and keep the shortest.

    Raises:
        ServiceUnavailable: no PostgreSQL answers at `url`.
    """
    with user_connection(url) as connection:
        return min((_reading(connection) for _ in range(ROUND_TRIPS)), key=lambda reading: reading.uncertainty_ns)


def _reading(connection: psycopg.Connection) -> ClockReading:
    before = instant()
    # As a whole number, because a float of seconds is precise to a tenth of a microsecond only.
    [(database_us,)] = connection.execute(MICROSECONDS).fetchall()
    after = instant()
    round_trip_ns = after.mono_ns - before.mono_ns
    # The wall clock in the middle of the round trip. It does not step between the readings, or the checker says so.
    middle_ns = before.wall_ns + round_trip_ns // 2
    return ClockReading(after, int(database_us) * 1000 - middle_ns, round_trip_ns // 2)
