"""The common start of the runs of one scenario."""

from __future__ import annotations

import threading

import pytest

from duetime.clock import Instant
from duetime.errors import Interrupted
from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.runs.start_barrier import StartBarrier


def test_all_runs_that_have_not_left_start_at_the_same_full_second() -> None:
    barrier = StartBarrier(3, CancelToken())
    starts: list[Instant] = []
    threads = [threading.Thread(target=lambda: starts.append(barrier.wait())) for _ in range(2)]
    for thread in threads:
        thread.start()
    barrier.leave()
    for thread in threads:
        thread.join(timeout=5)

    assert len(starts) == 2
    assert starts[0] == starts[1]
    assert starts[0].wall_ns % 1_000_000_000 == 0


def test_a_stop_ends_the_wait_for_other_runs() -> None:
    stop = CancelToken()
    stop.set()

    with pytest.raises(Interrupted):
        StartBarrier(2, stop).wait()
