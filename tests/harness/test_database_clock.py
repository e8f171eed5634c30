"""A PostgreSQL of the user's own whose clock is wrong: a correct design is not convicted, and an early one is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from duetime.faults.mechanisms.faketime import SkewedClock
from duetime.harness.processes.database_clock import measure_database_clock
from duetime.harness.runs.doctor import clock_check
from tests.commands import BROKEN, compared
from tests.skewed_postgres import clock_in, postgres_with

MS = 1_000_000


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> SkewedClock:
    """The clock of the PostgreSQL at `url`."""
    return clock_in(tmp_path_factory.mktemp("clock"))


@pytest.fixture(scope="module")
def url(clock: SkewedClock, tempdir: Path) -> Iterator[str]:
    with postgres_with(clock, tempdir / "borrowed", tempdir=tempdir) as found:
        yield found


def test_the_difference_is_measured_within_its_uncertainty(clock: SkewedClock, url: str) -> None:
    for offset_s in (0.0, 0.3, -7.5):
        clock.set(offset_s)
        reading = measure_database_clock(url)
        # libfaketime rounds, and the server reads its clock in microseconds.
        assert abs(reading.ahead_ns - offset_s * 1e9) <= reading.uncertainty_ns + 2 * MS
        assert reading.uncertainty_ns < 50 * MS


def test_the_doctor_names_the_difference(clock: SkewedClock, url: str) -> None:
    clock.set(0.0)
    assert clock_check(url).ok
    clock.set(2.31)
    ahead = clock_check(url)
    clock.set(-2.31)
    behind = clock_check(url)

    assert (ahead.ok, behind.ok) == (False, False)
    assert re.match(r"23\d\d\.\d ms ahead of this machine's", ahead.detail), ahead
    assert re.match(r"23\d\d\.\d ms behind this machine's", behind.detail), behind
    assert "unset DUETIME_DATABASE_URL" in ahead.detail


@pytest.mark.runs
def test_a_clock_that_is_ahead_convicts_no_correct_design_and_still_an_early_one(
    clock: SkewedClock, url: str, tmp_path: Path
) -> None:
    clock.set(0.2)
    designs = f"push_readmodel,{BROKEN}:early"
    _, cells = compared("--designs", designs, "--scenarios", "calm", out=tmp_path, DUETIME_DATABASE_URL=url)
    outcomes = {design.rpartition(":")[2]: cell for (_, design), cell in cells.items()}

    assert outcomes["push_readmodel"]["outcome"] == "unknown"
    run_dir = Path(outcomes["push_readmodel"]["run_dir"])
    results = json.loads((run_dir / "results.json").read_text())
    assert results["counts"]["early"] == 0 and results["counts"]["unknown_early"] > 0
    assert "the clock of the database server was up to 20" in results["unknown_because"][0]
    assert outcomes["early"]["outcome"] == "fail"
