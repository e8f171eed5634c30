"""The services of docker-compose.yml, started and health-checked on this machine instead of in containers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from duetime.harness.processes.cleanup import run_tempdir
from tests.cli.stack import DESIGNS, Stack
from tests.eventually import assert_eventually

pytestmark = pytest.mark.processes

REMINDER = "event-reminder:1:1"
TASKS = {
    "pull_worker": "pull_worker.poll",
    "push_readmodel": "push_readmodel.deliver",
    "oban_style_queue": "oban_style_queue.deliver",
}


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """All services of the file except the demo, healthy."""
    with run_tempdir() as tempdir, ExitStack() as cleanup:
        stack = Stack(tempdir)
        for server in (stack.database, stack.broker):
            server.start()
            cleanup.callback(server.stop)
        for server in (stack.database, stack.broker):
            server.wait_ready()
        for name in ("flower", "install", *DESIGNS):
            if name in DESIGNS:
                assert stack.wait("install") == 0, stack.log("install").read_text()
            stack.start(name)
            cleanup.callback(stack.kill, name)
        for name in (*DESIGNS, "flower"):
            wait_until(partial(stack.is_healthy, name), message=stack.log(name).read_text)
        yield stack


def test_the_demo_serves_its_page_and_exits_on_sigterm(stack: Stack) -> None:
    stack.start("demo")
    try:
        wait_until(lambda: stack.is_healthy("demo"), message=stack.log("demo").read_text)
        stack.main("demo").send_signal(signal.SIGTERM)
        assert stack.wait("demo") == 0
        assert not stack.is_healthy("demo")
    finally:
        stack.kill("demo")


def test_each_design_has_a_separate_database(stack: Stack) -> None:
    lines = stack.log("install").read_text().splitlines()
    created = [line for line in lines if not line.startswith("duetime: obeys")]

    assert set(lines) - set(created) == {"duetime: obeys PGPASSWORD, PGPORT from the environment"}
    assert sorted(created) == [f"created the database; installed the application and {design}" for design in DESIGNS]


def test_flower_asks_for_the_password_and_shows_nothing_without_it(stack: Stack) -> None:
    for path in ("/", "/tasks", "/api/workers", "/api/tasks"):
        assert stack.flower(path, password=None)[0] == 401
        assert stack.flower(path, password="user:wrong")[0] == 401
        assert stack.flower(path)[0] == 200


def test_flower_without_a_password_does_not_start(stack: Stack) -> None:
    done = subprocess.run(
        stack.services["flower"]["command"],
        env={"PATH": os.environ["PATH"]},
        timeout=10,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert "export FLOWER_BASIC_AUTH=user:password" in done.stderr


def test_flower_lists_the_workers_of_all_designs_and_their_deliveries(stack: Stack) -> None:
    host = socket.gethostname()
    expected = {(f"{host}@{design}", task, "SUCCESS") for design, task in TASKS.items()}
    stack.create_event(due_in_s=2)
    for design in DESIGNS:
        wait_until(partial(reminded, stack, design))

    wait_until(lambda: set(stack.tasks()) == expected)
    assert stack.flower("/api/workers?status=1")[1] == {f"{host}@{design}": True for design in DESIGNS}
    shown = stack.flower("/api/tasks")[1].values()
    by_name = {task["name"]: task for task in shown}
    assert REMINDER in by_name["push_readmodel.deliver"]["args"]
    assert REMINDER in by_name["oban_style_queue.deliver"]["args"]
    assert by_name["oban_style_queue.deliver"]["eta"]


def test_flower_cannot_stop_a_worker(stack: Stack) -> None:
    worker = f"{socket.gethostname()}@push_readmodel"

    assert stack.flower(f"/api/worker/shutdown/{worker}", method="POST")[0] == 403


def test_a_worker_is_unhealthy_while_a_server_that_it_needs_is_away_or_it_is_paused(stack: Stack) -> None:
    def healthy() -> set[str]:
        stack.restart_ended()
        return {design for design in DESIGNS if stack.is_healthy(design, "--patience", "1")}

    wait_until(lambda: healthy() == set(DESIGNS))

    stack.database.kill()
    stack.signal("oban_style_queue", signal.SIGSTOP)
    wait_until(lambda: healthy() == set())
    health = stack.health("push_readmodel", "--patience", "1")
    assert "last checked its database connection" in health.stdout
    stack.signal("oban_style_queue", signal.SIGCONT)
    wait_until(stack.database.gone)
    stack.database.start()
    wait_until(lambda: healthy() == set(DESIGNS))

    stack.broker.kill()
    wait_until(stack.broker.gone)
    wait_until(lambda: healthy() == {"push_readmodel"})
    stack.broker.start()
    wait_until(lambda: healthy() == set(DESIGNS))


def reminded(stack: Stack, design: str) -> bool:
    return REMINDER in stack.delivered(design)


def wait_until(condition: Callable[[], bool], *, message: Callable[[], str] | None = None) -> None:
    # Each check starts a process, so check less often than other tests do.
    assert_eventually(condition, within_s=30, every_s=0.1, message=message)
