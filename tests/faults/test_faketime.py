"""Setting one worker's wall clock changes neither its waits, nor its monotonic clock, nor another process's clock."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from duetime.errors import HarnessError
from duetime.faults.mechanisms import faketime
from duetime.faults.mechanisms.faketime import SkewedClock, library_is_loaded, measuring, remove_shared_memory

WORKER_WITH_CHILDREN = """
import multiprocessing, os, time

def serve(requests, answers):
    for _ in iter(requests.get, None):
        answers.put((os.getpid(), time.time_ns() - time.monotonic_ns()))

fork = multiprocessing.get_context("fork")
requests, answers = [fork.SimpleQueue() for _ in range(2)], fork.SimpleQueue()
children = [fork.Process(target=serve, args=(queue, answers)) for queue in requests]
for child in children:
    child.start()
while input() == "read":
    for queue in requests:
        queue.put("read")
    read = dict(answers.get() for _ in requests)
    print([[pid, at] for pid, at in ({os.getpid(): time.time_ns() - time.monotonic_ns()} | read).items()], flush=True)
"""
WAITS = """
import json, queue, select, threading, time

def measure(name, wait):
    started = time.monotonic()
    wait()
    durations[name] = time.monotonic() - started

def until_empty(wait):
    try:
        wait()
    except queue.Empty:
        pass

durations, held, poller = {}, threading.Lock(), select.epoll()
held.acquire()
condition = threading.Condition()
condition.acquire()
waits = {
    "sleep": lambda: time.sleep(0.3),
    "event": lambda: threading.Event().wait(0.3),
    "lock": lambda: held.acquire(timeout=0.3),
    "queue": lambda: until_empty(lambda: queue.Queue().get(timeout=0.3)),
    "select": lambda: select.select([], [], [], 0.3),
    "epoll": lambda: poller.poll(0.3),
    "poll": lambda: select.poll().poll(300),
}
threads = [threading.Thread(target=measure, args=item) for item in waits.items()]
for thread in threads:
    thread.start()
print("waiting", flush=True)
measure("condition", lambda: condition.wait(0.3))
for thread in threads:
    thread.join()
print(json.dumps(durations), flush=True)
"""
WAIT_FOR_THE_INTERPRETER = """
import threading, time
busy = threading.Thread(target=pow, args=(3, 2_000_000))
wall, cpu = time.monotonic(), time.process_time()
busy.start()
time.sleep(0.001)
busy.join()
print((time.process_time() - cpu) / (time.monotonic() - wall))
"""


@pytest.fixture
def clock(tmp_path: Path) -> SkewedClock:
    """A correct clock; skipped on a machine that cannot set a worker's clock."""
    if reason := faketime.unavailable():
        pytest.skip(reason)
    return SkewedClock(tmp_path / "offset")


@contextmanager
def running(program: str, clock: SkewedClock) -> Iterator[subprocess.Popen[str]]:
    """Run `program` with `clock`; at the end, kill it and remove its shared memory."""
    environment = {**os.environ, **clock.environment()}
    command = [sys.executable, "-c", program]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, env=environment, stdin=pipe, stdout=pipe, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            remove_shared_memory([process.pid])


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.parametrize("offset_s", [2.0, -2.0, 0.25, -0.25, -600.125, 86_400.0, 0.000_5])
def test_a_new_offset_takes_effect_at_the_next_reading(clock: SkewedClock, offset_s: float) -> None:
    with measuring(clock) as reading:
        assert next(reading) == pytest.approx(0.0, abs=0.000_2)

        clock.set(offset_s)

        assert next(reading) == pytest.approx(offset_s, abs=0.000_2)
        clock.set(0.0)
        assert next(reading) == pytest.approx(0.0, abs=0.000_2)


def test_a_process_started_after_the_change_has_the_changed_clock(clock: SkewedClock) -> None:
    clock.set(-3.5)

    assert clock.measure() == pytest.approx(-3.5, abs=0.000_2)


def test_forked_children_have_the_clock_of_their_worker_and_leave_no_shared_memory(clock: SkewedClock) -> None:
    with running(WORKER_WITH_CHILDREN, clock) as worker:
        for offset_s in (0.0, -30.5, 4.0):
            clock.set(offset_s)

            offsets = read_offsets(worker)

            assert len(offsets) == 3
            assert list(offsets.values()) == [pytest.approx(offset_s, abs=0.01)] * 3
        assert all(library_is_loaded(pid) for pid in offsets)
        assert not library_is_loaded(os.getpid())
    assert not [path for path in Path("/dev/shm").glob("*faketime*") if path.name.endswith(tuple(map(str, offsets)))]


def read_offsets(worker: subprocess.Popen[str]) -> dict[int, float]:
    """Return by how many seconds each process of the worker is ahead, by process id."""
    assert worker.stdin is not None
    worker.stdin.write("read\n")
    worker.stdin.flush()
    correct_ns = time.time_ns() - time.monotonic_ns()
    return {pid: (read_ns - correct_ns) / 1e9 for pid, read_ns in json.loads(read_line(worker))}


@pytest.mark.parametrize("offset_s", [-600.0, 600.0])
def test_a_wait_in_progress_keeps_its_duration(clock: SkewedClock, offset_s: float) -> None:
    with running(WAITS, clock) as program:
        assert read_line(program) == "waiting\n"

        clock.set(offset_s)

        durations = json.loads(read_line(program))
    assert set(durations) == {"sleep", "event", "lock", "queue", "select", "epoll", "poll", "condition"}
    # A wait that used the changed clock would end at once, or after ten minutes.
    assert {name: seconds for name, seconds in durations.items() if not 0.299 <= seconds < 1.0} == {}


def test_a_thread_that_waits_for_the_interpreter_lock_does_not_spin(clock: SkewedClock) -> None:
    clock.set(-600.0)

    with running(WAIT_FOR_THE_INTERPRETER, clock) as program:
        processors = float(read_line(program))

    assert processors < 1.5


def test_shared_memory_can_be_removed_while_its_process_runs(clock: SkewedClock) -> None:
    with running(WORKER_WITH_CHILDREN, clock) as worker:
        read_offsets(worker)

        remove_shared_memory([worker.pid])

        clock.set(9.0)
        assert list(read_offsets(worker).values()) == [pytest.approx(9.0, abs=0.01)] * 3
        assert not list(Path("/dev/shm").glob(f"*faketime*_{worker.pid}"))


def test_an_offset_that_is_not_finite_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="a clock cannot be nan s off"):
        SkewedClock(tmp_path / "offset").set(math.nan)


def test_a_process_that_has_ended_has_no_library_loaded() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()

    assert not library_is_loaded(process.pid)
