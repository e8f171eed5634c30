"""Each violation of the queue, reproduced in every run: lost, stuck, duplicate, not cancelled, early."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from duetime import registry
from duetime.faults.mechanisms import faketime
from duetime.faults.mechanisms.faketime import SkewedClock
from duetime.harness.processes.embedded_servers import valkey
from duetime.harness.processes.worker_process import WorkerProcess
from duetime.migration import NewDesignTarget
from duetime.runtime.failpoints import Failpoint, Point, hits
from duetime.runtime.gateway_faults import GATEWAY_FAULT_FILE, InjectedGatewayFault
from oban_style_queue.broker import QUEUE
from oban_style_queue.celeryapp import make_app
from oban_style_queue.migrate import revoked
from push_readmodel.scheduler import ReadModelScheduler
from tests.designs.violations.world import KILLED, MakeWorld, World
from tests.eventually import assert_eventually

pytestmark = pytest.mark.processes


@pytest.mark.parametrize("point", ["after_commit", "before_publish"])
def test_a_client_crash_between_commit_and_publish_loses_the_notification(make_world: MakeWorld, point: Point) -> None:
    world = make_world("oban_style_queue")
    world.arm(Failpoint(point=point, action="kill"))

    assert world.schedule_from_client("a", in_s=3600) == KILLED
    assert world.pending() == {}


def test_hardened_a_client_crash_leaves_a_row_without_a_message(make_world: MakeWorld) -> None:
    world = make_world("oban_style_queue:hardened")
    world.arm(Failpoint(point="before_publish", action="kill"))

    assert world.schedule_from_client("a", in_s=3600) == KILLED
    assert world.pending() == {"a/1": "row in wanted_notifications, and no message in the broker"}


def test_staged_a_client_crash_after_the_commit_loses_nothing(make_world: MakeWorld) -> None:
    world = make_world("oban_style_queue:staged")
    world.arm(Failpoint(point="after_commit", action="kill"))

    assert world.schedule_from_client("a", in_s=3600) == KILLED
    assert list(world.pending()) == ["a/1"]


def test_a_task_that_has_begun_is_lost_with_its_worker(make_world: MakeWorld) -> None:
    world = make_world("oban_style_queue")
    world.schedule("a")
    world.arm(Failpoint(point="before_deliver", action="sleep", seconds=60))

    with world.worker() as worker:
        # The worker acknowledges in its main process, a moment after the pool has begun.
        assert_eventually(lambda: bool(hits(world.failpoint)) and not world.pending())
        worker.end()

    assert world.delivered() == {}
    assert world.pending() == {}


HASTY = """
import billiard.pool
from oban_style_queue.worker import app
# A pool process whose answer nobody counts waits this often for 0.1 s before it ends: 300 times by default.
billiard.pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = 10
"""


def test_what_a_worker_has_just_passed_to_its_pool_when_it_stops_is_delivered_and_stays_in_the_broker(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    """The worker forgets it, because the broker will deliver it again, and the pool's process executes it."""
    world = make_world("oban_style_queue")
    python_path = run_application(world, "hasty", {"hasty": HASTY}, tmp_path, loglevel="DEBUG")
    with world.worker(environment={"PYTHONPATH": python_path}) as worker, make_app(world.settings) as app:
        processes = pool_of(app)["processes"]
        for pid in processes:
            os.kill(pid, signal.SIGSTOP)
        world.schedule("a")
        assert_eventually(lambda: pool_of(app)["writes"]["total"] == 1)
        worker.terminate()
        log = world.failpoint.with_name("worker-1.log")
        assert_eventually(lambda: "Worker: Stopping Pool" in log.read_text())
        for pid in processes:
            os.kill(pid, signal.SIGCONT)
        assert_eventually(worker.main_ended)

    assert world.delivered() == {"a": 1}
    assert world.pending() == {"a/1": "message waiting in the broker's queue"}


def run_application(
    world: World, application: str, modules: dict[str, str], directory: Path, *, loglevel: str = "INFO"
) -> str:
    """Let the workers of `world` run `application`, which may be one of `modules`. Returns their PYTHONPATH."""
    for name, code in modules.items():
        (directory / f"{name}.py").write_text(code)
    role = world.design.roles[0]
    changed = {"oban_style_queue.worker": application, "INFO": loglevel}
    argv = tuple(changed.get(part, part) for part in role.argv)
    world.design = replace(world.design, roles=[replace(role, argv=argv)])
    return os.pathsep.join([str(directory), os.environ.get("PYTHONPATH", "")])


def pool_of(app: Celery) -> dict[str, Any]:
    """Return what the worker says of its pool; an empty answer is asked for again."""
    while not (answers := app.control.inspect(timeout=0.5).stats()):
        pass
    [answer] = answers.values()
    pool: dict[str, Any] = answer["pool"]
    return pool


def test_a_task_that_waits_for_its_eta_is_stuck_when_its_worker_is_killed(make_world: MakeWorld) -> None:
    world = make_world("oban_style_queue")
    with world.worker() as worker:
        world.schedule("a", in_s=2)
        assert_eventually(lambda: "not acknowledged" in world.pending().get("a/1", ""))
        worker.end()
    with world.worker():
        assert_eventually(lambda: "not acknowledged" in world.pending()["a/1"])

    assert world.delivered() == {}


def test_hardened_the_messages_of_a_killed_worker_come_back(make_world: MakeWorld) -> None:
    world = make_world("oban_style_queue:hardened", rescue_after=timedelta(seconds=1))
    with world.worker() as worker:
        world.schedule("a", in_s=2)
        assert_eventually(lambda: "unacknowledged" in world.pending()["a/1"])
        worker.end()
    with world.worker():
        assert_eventually(lambda: not world.pending())

    assert world.delivered() == {"a": 1}


def test_hardened_the_lock_of_a_killed_worker_holds_back_all_its_messages(make_world: MakeWorld) -> None:
    """kombu searches for the messages of dead workers under a lock; here a killed worker has it for five minutes."""
    world = make_world("oban_style_queue:hardened", rescue_after=timedelta(seconds=1))
    with world.worker() as worker:
        world.schedule("a", in_s=2)
        assert_eventually(lambda: "unacknowledged" in world.pending()["a/1"])
        worker.end()
    with redis.Redis.from_url(world.settings.broker_url) as broker:
        broker.set("unacked_mutex", "a dead worker's", px=290_000)
    with world.worker(), redis.Redis.from_url(world.settings.broker_url) as broker:
        assert_eventually(lambda: "locked for" in world.pending()["a/1"])
        # The new worker searches every second, so several times before b is due.
        world.schedule("b", in_s=5)
        assert_eventually(lambda: world.delivered()["b"] == 1)
        assert world.delivered()["a"] == 0

        broker.delete("unacked_mutex")
        assert_eventually(lambda: world.delivered()["a"] == 1)


def test_a_notification_due_after_the_visibility_timeout_is_delivered_several_times(make_world: MakeWorld) -> None:
    world = make_world("oban_style_queue", visibility_timeout=timedelta(seconds=1))
    with world.worker():
        world.schedule("a", in_s=5)
        assert_eventually(lambda: world.delivered()["a"] >= 2)


def test_hardened_copies_of_a_message_deliver_nothing(make_world: MakeWorld) -> None:
    world = make_world("oban_style_queue:hardened", rescue_after=timedelta(seconds=1))
    with world.worker() as worker:
        world.schedule("a", in_s=4)
        assert_eventually(lambda: not world.pending())
        # Each copy logs a line at its end.
        log = world.failpoint.with_name("worker-1.log")
        assert_eventually(lambda: log.read_text().count("succeeded in") >= 2)
        assert worker.alive()

    assert world.delivered() == {"a": 1}


@pytest.mark.parametrize("name", ["oban_style_queue", "oban_style_queue:hardened"])
def test_a_message_sent_to_a_worker_that_is_killed_before_it_reads_is_lost(make_world: MakeWorld, name: str) -> None:
    """kombu pops a message in one step and records it as unacknowledged in another."""
    world = make_world(name)
    with world.worker() as worker, redis.Redis.from_url(world.settings.broker_url) as broker:
        # The first message opens this process's connections, so that publishing the second is quick.
        world.schedule("before")
        assert_eventually(lambda: world.delivered()["before"] == 1 and not world.pending())
        key = pause_while_a_message_is_requested(world, worker, broker)
        worker.end()

    assert set(world.pending().values()) <= {"row in wanted_notifications, and no message in the broker"}
    assert world.delivered()[key] == 0


def pause_while_a_message_is_requested(world: World, worker: WorkerProcess, broker: redis.Redis) -> str:
    """Pause `worker` and schedule a notification whose message the broker sends to it. Returns the key.

    kombu requests a message for one second at a time. On a busy machine that second can end before the message is
    published; the message then stays in the queue, and the next attempt follows.
    """
    for attempt in range(10):
        for _ in range(2):
            assert_eventually(partial(has_requested_again, broker, request_count(broker)))
        worker.pause()
        key = f"a{attempt}"
        world.schedule(key)
        if broker.llen(QUEUE) == 0:
            return key
        worker.resume()
        assert_eventually(partial(is_delivered_and_acknowledged, world, key))
    raise AssertionError("no message was published while the paused worker's request was open")


def is_delivered_and_acknowledged(world: World, key: str) -> bool:
    return world.delivered()[key] == 1 and not world.pending()


def has_requested_again(broker: redis.Redis, requests_before: int) -> bool:
    return request_count(broker) > requests_before


def request_count(broker: redis.Redis) -> int:
    """Return how many commands the connection that requests messages has sent."""
    connections = [client for client in broker.client_list() if client["cmd"] == "brpop"]
    return max((int(client["tot-cmds"]) for client in connections), default=0)


def test_a_cancel_without_a_running_worker_is_lost(make_world: MakeWorld) -> None:
    world = make_world("oban_style_queue")
    world.schedule("a", in_s=1)
    world.cancel("a")

    with world.worker():
        assert_eventually(lambda: world.delivered()["a"] == 1)


def test_a_cancel_is_lost_when_the_workers_restart(make_world: MakeWorld) -> None:
    world = make_world("oban_style_queue")
    with world.worker() as worker:
        world.schedule("a", in_s=8)
        assert_eventually(lambda: "not acknowledged" in world.pending().get("a/1", ""))
        world.cancel("a")
        log = world.failpoint.with_name("worker-1.log")
        assert_eventually(lambda: "Tasks flagged as revoked: a/1" in log.read_text())
        worker.terminate()
        assert_eventually(worker.main_ended)
    with world.worker():
        assert_eventually(lambda: world.delivered()["a"] == 1)


@pytest.mark.parametrize("name", ["oban_style_queue:hardened", "oban_style_queue:staged"])
def test_a_cancelled_notification_is_not_delivered_by_the_variants(make_world: MakeWorld, name: str) -> None:
    world = make_world(name)
    world.schedule("a", "b", in_s=1)
    world.cancel("a")

    with world.worker():
        assert_eventually(lambda: world.delivered()["b"] == 1 and not world.pending())

    assert world.delivered() == {"b": 1}


LIMITED = """
from oban_style_queue.worker import app
app.conf.worker_eta_task_limit = 2
"""


@pytest.mark.parametrize("app", ["limited", "oban_style_queue.worker"])
def test_with_a_limit_on_eta_tasks_a_due_task_waits_behind_tasks_of_the_future(
    make_world: MakeWorld, tmp_path: Path, app: str
) -> None:
    """The limit bounds a worker's memory, and tasks of the future occupy it until they are due."""
    world = make_world("oban_style_queue")
    python_path = run_application(world, app, {"limited": LIMITED}, tmp_path)

    with world.worker(environment={"PYTHONPATH": python_path}):
        world.schedule(*(f"far-{number}" for number in range(4)), in_s=8)
        world.schedule("now")
        assert_eventually(lambda: world.delivered()["now"] == 1)

    assert (len(world.delivered()) > 1) == (app == "limited")


def test_a_refused_delivery_is_not_retried(make_world: MakeWorld) -> None:
    world = make_world("oban_style_queue")
    gateway_fault = world.settings.deliveries.with_name(GATEWAY_FAULT_FILE)
    InjectedGatewayFault(mode="refuse").begin(gateway_fault)
    world.schedule("a")

    with world.worker():
        assert_eventually(lambda: InjectedGatewayFault.hit_count(gateway_fault) == 1)
        InjectedGatewayFault.end(gateway_fault)
        world.schedule("b", in_s=3)
        assert_eventually(lambda: world.delivered()["b"] == 1)
        assert_eventually(lambda: world.pending() == {})

    assert world.delivered() == {"b": 1}


def test_staged_the_job_of_a_slow_worker_is_done_twice(make_world: MakeWorld) -> None:
    world = make_world("oban_style_queue:staged", rescue_after=timedelta(seconds=1))
    world.arm(Failpoint(point="after_deliver", action="sleep", seconds=4))
    world.schedule("a")

    with world.worker():
        assert_eventually(lambda: world.delivered()["a"] == 2)


def test_a_worker_with_a_fast_clock_delivers_early(make_world: MakeWorld, tmp_path: Path) -> None:
    if reason := faketime.unavailable():
        pytest.skip(reason)
    world = make_world("oban_style_queue")
    skewed = SkewedClock(tmp_path / "clock")
    skewed.set(3600)

    with world.worker(environment=skewed.environment()):
        world.schedule("a", in_s=3600)
        assert_eventually(lambda: world.delivered()["a"] == 1, within_s=5)


def test_a_broker_without_persistence_loses_its_messages_in_a_crash(make_world: MakeWorld, tempdir: Path) -> None:
    directory = tempdir / f"in-memory-{os.getpid()}"
    with valkey(directory, tempdir=tempdir, persistence="none") as (url, broker):
        world = make_world("oban_style_queue", broker_url=url)
        world.schedule("a", in_s=3600)
        assert list(world.pending()) == ["a/1"]
        broker.kill()
        assert_eventually(broker.gone)
        broker.start()
        broker.wait_ready()

        assert world.pending() == {}


def test_a_migration_skips_cancelled_messages_and_revokes_those_it_moves(make_world: MakeWorld) -> None:
    world = make_world("oban_style_queue")
    both = registry.load("oban_style_queue-to-push_readmodel")
    both.install(world.engine)
    assert world.design.migrate is not None

    with world.worker(), make_app(world.settings) as app:
        world.schedule("cancelled", "kept", in_s=6)
        assert_eventually(lambda: sum("memory" in where for where in world.pending().values()) == 2)
        world.cancel("cancelled")
        assert_eventually(lambda: "cancelled/1" in revoked(app, {"worker-1@oban_style_queue"}))
        moved = world.design.migrate(
            world.settings, world.engine, NewDesignTarget(both.name, ReadModelScheduler()), None
        )
        left = world.pending()
        moved_to = registry.load("push_readmodel").pending(world.settings, world.engine)
        # By then "kept" is due too, and the worker that has it in memory does nothing.
        world.schedule("after", in_s=7)
        assert_eventually(lambda: world.delivered()["after"] == 1)

    assert (moved, left, [pending.op for pending in moved_to]) == (1, {}, ["kept/1"])
    assert world.delivered() == {"after": 1}
