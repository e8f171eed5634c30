"""A worker that is asked to end, and ends with a status that its role does not call orderly, is said to."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from duetime.faults.worker import AddWorker, Choice, Deploy, RemoveWorker
from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.processes.worker_process import WorkerProcess, stop_all
from duetime.harness.runs.cell import remarks
from duetime.interface import Role
from duetime.settings import Settings

pytestmark = pytest.mark.processes

PROGRAM = """
import signal, sys
signal.signal(signal.{signal}, lambda *_: sys.exit({status}))
print("ready", flush=True)
while True:
    signal.pause()
"""
DIES_OF_SIGTERM = "import signal; print('ready', flush=True); signal.pause()"

Make = Callable[..., WorkerProcess]


@pytest.fixture
def worker(tempdir: Path, tmp_path: Path) -> Iterator[Make]:
    """Make a worker that runs `program` and is ready at once."""
    settings = Settings.from_environment(
        {"DUETIME_DESIGN": "mine", "DUETIME_DATABASE_URL": "postgresql://x", "DUETIME_BROKER_URL": "redis://x"}
    )
    made: list[WorkerProcess] = []

    def make(program: str, **of_role: object) -> WorkerProcess:
        role = Role(name="worker", argv=(sys.executable, "-c", program), ready="ready")
        made.append(
            WorkerProcess(
                name="worker-1",
                role=replace(role, **of_role),  # type: ignore[arg-type]  # fields of the role
                settings=replace(settings, deliveries=tmp_path / "deliveries.jsonl"),
                state=tmp_path / "state",
                log=tmp_path / "log",
                tempdir=tempdir,
            )
        )
        return made[-1]

    yield make
    for each in made:
        each.end()


def deploy(worker: WorkerProcess) -> str:
    stop = CancelToken()
    worker.start()
    worker.wait_ready(stop)
    fault = Deploy(lambda _stop: Choice([worker]))
    prepared = fault.prepare(stop)
    fault.inject()
    return f"{prepared}: {fault.verify_injected(stop)}"


@pytest.mark.parametrize(
    ("program", "orderly", "status", "noted"),
    [
        (PROGRAM.format(signal="SIGTERM", status=0), (0,), 0, False),
        (PROGRAM.format(signal="SIGTERM", status=3), (0,), 3, True),
        (PROGRAM.format(signal="SIGTERM", status=3), (0, 3), 3, False),
        # By Node's convention, for instance graphile-worker's.
        (DIES_OF_SIGTERM, (-15,), -15, False),
    ],
)
def test_a_deploy_records_the_status_and_notes_one_that_is_not_orderly(
    worker: Make, program: str, orderly: tuple[int, ...], status: int, noted: bool
) -> None:
    ending = worker(program, orderly_exits=orderly)

    evidence = deploy(ending)

    assert f"ended on SIGTERM with status {status}" in evidence
    assert ("orderly_exits are 0" in evidence) is noted
    assert len(ending.disorderly_exits) == noted
    assert ("Noted: worker-1 ended on SIGTERM with status 3" in remarks([], ending.disorderly_exits)) is noted


def test_the_signal_is_the_one_of_the_role(worker: Make) -> None:
    program = PROGRAM.format(signal="SIGINT", status=0)

    evidence = deploy(worker(program, stop_signal="SIGINT"))

    assert evidence.startswith("SIGINT to worker-1")
    assert "ended on SIGINT with status 0" in evidence


def test_a_removed_worker_and_an_added_one_have_their_status_in_the_evidence(worker: Make) -> None:
    stop, ending = CancelToken(), worker(PROGRAM.format(signal="SIGTERM", status=3))

    added = AddWorker(ending)
    added.inject()
    added.verify_injected(stop)
    added.heal()
    after_adding = added.verify_healed(stop)
    ending.start()
    ending.wait_ready(stop)
    removed = RemoveWorker(lambda _stop: Choice([ending]))
    removed.prepare(stop)
    removed.inject()
    after_removing = removed.verify_injected(stop)

    assert "ended on SIGTERM with status 3" in after_adding
    assert "ended on SIGTERM with status 3" in after_removing
    assert len(ending.disorderly_exits) == 2


IGNORES_SIGTERM = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(99)"
LEAVES_A_CHILD = """
import signal, subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(99)"])
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("ready", flush=True)
signal.pause()
"""


@pytest.mark.parametrize(
    ("program", "cut_short"),
    [
        (PROGRAM.format(signal="SIGTERM", status=0), []),
        (PROGRAM.format(signal="SIGTERM", status=3), ["worker-1"]),
        (DIES_OF_SIGTERM, ["worker-1"]),  # perhaps in the middle of an acknowledgement
        (IGNORES_SIGTERM, ["worker-1"]),
        (LEAVES_A_CHILD, ["worker-1"]),
    ],
)
def test_the_end_of_a_run_knows_which_workers_it_cut_short(worker: Make, program: str, cut_short: list[str]) -> None:
    made = worker(program)
    made.start()
    made.wait_ready(CancelToken())

    assert stop_all([made], within_s=1.0) == cut_short


def test_a_worker_that_was_down_already_is_not_cut_short(worker: Make) -> None:
    made = worker(DIES_OF_SIGTERM)
    made.start()
    made.wait_ready(CancelToken())
    made.end()

    assert stop_all([made], within_s=1.0) == []
