"""The drain's estimate of the database's clock."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from push_readmodel.clock import DatabaseClock

WHEN = datetime.fromtimestamp(1000, UTC)


def test_the_quickest_reading_counts_and_later_ones_correct_for_drift() -> None:
    clock = DatabaseClock()
    for database_s, age_s in ((0.0, 0.003), (1.0, 0.001), (2.0, 0.0025)):
        clock.record(database_s, database_s + age_s)

    assert clock.monotonic_s(WHEN) == pytest.approx(1000.0012, abs=1e-5)


@pytest.mark.parametrize("by_s", [-0.5, -0.003, 0.5])
def test_a_clock_that_was_set_is_followed_at_once(by_s: float) -> None:
    clock = DatabaseClock()
    clock.record(0.0, 0.001)
    clock.record(1.0 + by_s, 1.001)

    assert clock.monotonic_s(WHEN) == pytest.approx(1000.001 - by_s)
