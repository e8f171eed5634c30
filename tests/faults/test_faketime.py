"""One server's clock is moved, live; its waits, its monotonic clock and everybody else's clock are not."""

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
from duetime.faults.mechanisms.faketime import SkewedClock, library_is_loaded, reader, remove_shared_memory

SERVER_WITH_CHILDREN = """
import multiprocessing, os, time

def serve(orders, answers):
    for _ in iter(orders.get, None):
        answers.put((os.getpid(), time.time_ns() - time.monotonic_ns()))

fork = multiprocessing.get_context("fork")
orders, answers = [fork.SimpleQueue() for _ in range(2)], fork.SimpleQueue()
children = [fork.Process(target=serve, args=(queue, answers)) for queue in orders]
for child in children:
    child.start()
while input() == "look":
    for queue in orders:
        queue.put("look")
    seen = dict(answers.get() for _ in orders)
    print([[pid, at] for pid, at in ({os.getpid(): time.time_ns() - time.monotonic_ns()} | seen).items()], flush=True)
"""
WAITS = """
import json, queue, select, threading, time

def timed(name, wait):
    started = time.monotonic()
    wait()
    took[name] = time.monotonic() - started

def late(wait):
    try:
        wait()
    except queue.Empty:
        pass

took, held, poller = {}, threading.Lock(), select.epoll()
held.acquire()
condition = threading.Condition()
condition.acquire()
waits = {
    "sleep": lambda: time.sleep(0.3),
    "event": lambda: threading.Event().wait(0.3),
    "lock": lambda: held.acquire(timeout=0.3),
    "queue": lambda: late(lambda: queue.Queue().get(timeout=0.3)),
    "select": lambda: select.select([], [], [], 0.3),
    "epoll": lambda: poller.poll(0.3),
    "poll": lambda: select.poll().poll(300),
}
threads = [threading.Thread(target=timed, args=item) for item in waits.items()]
for thread in threads:
    thread.start()
print("waiting", flush=True)
timed("condition", lambda: condition.wait(0.3))
for thread in threads:
    thread.join()
print(json.dumps(took), flush=True)
"""
WAIT_FOR_THE_INTERPRETER = """
import threading, time
hog = threading.Thread(target=pow, args=(3, 2_000_000))
wall, cpu = time.monotonic(), time.process_time()
hog.start()
time.sleep(0.001)
hog.join()
print((time.process_time() - cpu) / (time.monotonic() - wall))
"""


@pytest.fixture
def clock(tmp_path: Path) -> SkewedClock:
    """A clock that is true yet; absent where no server's clock can be moved."""
    if reason := faketime.unavailable():
        pytest.skip(reason)
    return SkewedClock(tmp_path / "offset")


@contextmanager
def running(program: str, clock: SkewedClock) -> Iterator[subprocess.Popen[str]]:
    """`program` with `clock`, killed at the end, and its shared memory removed."""
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


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.parametrize("offset_s", [2.0, -2.0, 0.25, -0.25, -600.125, 86_400.0, 0.000_5])
def test_a_move_is_seen_at_the_next_reading(clock: SkewedClock, offset_s: float) -> None:
    with reader(clock) as reading:
        assert next(reading) == pytest.approx(0.0, abs=0.000_2)

        clock.set(offset_s)

        assert next(reading) == pytest.approx(offset_s, abs=0.000_2)
        clock.set(0.0)
        assert next(reading) == pytest.approx(0.0, abs=0.000_2)


def test_a_process_started_after_the_move_has_the_moved_clock_too(clock: SkewedClock) -> None:
    clock.set(-3.5)

    assert clock.measure() == pytest.approx(-3.5, abs=0.000_2)


def test_forked_children_have_the_clock_of_their_server_and_a_kill_leaves_nothing(clock: SkewedClock) -> None:
    with running(SERVER_WITH_CHILDREN, clock) as worker:
        for offset_s in (0.0, -30.5, 4.0):
            clock.set(offset_s)

            seen = look(worker)

            assert len(seen) == 3
            assert list(seen.values()) == [pytest.approx(offset_s, abs=0.01)] * 3
        assert all(library_is_loaded(pid) for pid in seen)
        assert not library_is_loaded(os.getpid())
    assert not [path for path in Path("/dev/shm").glob("*faketime*") if path.name.endswith(tuple(map(str, seen)))]


def look(worker: subprocess.Popen[str]) -> dict[int, float]:
    """By how many seconds each process of the server, by its id, is ahead."""
    assert worker.stdin is not None
    worker.stdin.write("look\n")
    worker.stdin.flush()
    true_ns = time.time_ns() - time.monotonic_ns()
    return {pid: (seen_ns - true_ns) / 1e9 for pid, seen_ns in json.loads(line(worker))}


@pytest.mark.parametrize("offset_s", [-600.0, 600.0])
def test_a_wait_under_way_lasts_as_long_as_it_was_to(clock: SkewedClock, offset_s: float) -> None:
    with running(WAITS, clock) as program:
        assert line(program) == "waiting\n"

        clock.set(offset_s)

        took = json.loads(line(program))
    assert set(took) == {"sleep", "event", "lock", "queue", "select", "epoll", "poll", "condition"}
    # A wait by the moved clock would end at once, or after ten minutes.
    assert {name: seconds for name, seconds in took.items() if not 0.299 <= seconds < 1.0} == {}


def test_a_thread_that_waits_for_the_interpreter_does_not_spin(clock: SkewedClock) -> None:
    clock.set(-600.0)

    with running(WAIT_FOR_THE_INTERPRETER, clock) as program:
        processors = float(line(program))

    assert processors < 1.5


def test_shared_memory_can_be_removed_while_its_process_lives(clock: SkewedClock) -> None:
    with running(SERVER_WITH_CHILDREN, clock) as worker:
        look(worker)

        remove_shared_memory([worker.pid])

        clock.set(9.0)
        assert list(look(worker).values()) == [pytest.approx(9.0, abs=0.01)] * 3
        assert not list(Path("/dev/shm").glob(f"*faketime*_{worker.pid}"))


def test_an_offset_that_is_no_number_of_seconds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="a clock cannot be nan s off"):
        SkewedClock(tmp_path / "offset").set(math.nan)


def test_a_process_that_is_gone_maps_nothing() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()

    assert not library_is_loaded(process.pid)
