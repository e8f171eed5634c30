"""The supervisor waits for the workers that it restarted, if they should be up."""

from __future__ import annotations

import time

import pytest

from duetime.faults.fault import FaultNotVerified
from duetime.harness.processes.supervisor import RESTART_AFTER_S, Supervisor
from tests.eventually import assert_eventually


class CrashingWorker:
    """A worker that has crashed once and is ready after its restart only if `returns`."""

    def __init__(self, name: str, *, returns: bool) -> None:
        self.name = name
        self.wanted = True
        self._returns = returns
        self._crashed = True

    def restart_if_crashed(self) -> int | None:
        if not self._crashed or not self.wanted:
            return None
        self._crashed = False
        return 1

    def main_ended(self) -> bool:
        return self._crashed

    def serving(self) -> bool:
        return self._returns and not self._crashed


class RealSleep:
    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def supervisor_after_restart(*workers: CrashingWorker) -> Supervisor:
    supervisor = Supervisor(workers)  # type: ignore[arg-type]  # has all that the supervisor uses
    supervisor.start()
    assert_eventually(lambda: len(supervisor.restarts) >= len(workers), within_s=10 * RESTART_AFTER_S)
    supervisor.stop()
    return supervisor


def test_a_restarted_worker_is_named_in_the_evidence() -> None:
    supervisor = supervisor_after_restart(CrashingWorker("a", returns=True))

    assert "a had crashed and is ready again" in supervisor.wait_settled(RealSleep(), within_s=0.1)


def test_a_crashed_worker_that_is_not_restarted_yet_is_waited_for() -> None:
    supervisor = Supervisor([CrashingWorker("a", returns=True)])  # type: ignore[list-item]  # as above
    supervisor.start()
    evidence = supervisor.wait_settled(RealSleep(), within_s=10 * RESTART_AFTER_S)
    supervisor.stop()

    assert "a had crashed and is ready again" in evidence


def test_a_restarted_worker_that_is_not_ready_fails_the_verification() -> None:
    with pytest.raises(FaultNotVerified, match="a, restarted after a crash"):
        supervisor_after_restart(CrashingWorker("a", returns=False)).wait_settled(RealSleep(), within_s=0.1)


def test_a_worker_that_was_removed_after_its_restart_is_not_waited_for() -> None:
    worker = CrashingWorker("a", returns=False)
    supervisor = supervisor_after_restart(worker)
    worker.wanted = False

    assert supervisor.wait_settled(RealSleep(), within_s=0.1) == ""
