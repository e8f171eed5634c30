"""What goes wrong with the queue, every time: lost, stuck, repeated, not called off, early."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import redis

from duetime import registry
from duetime.faults.mechanisms import faketime
from duetime.faults.mechanisms.faketime import SkewedClock
from duetime.harness.processes.embedded_servers import valkey
from duetime.migration import NewDesignTarget
from duetime.runtime.failpoints import Failpoint, hits
from duetime.runtime.gateway_faults import GATEWAY_FAULT_FILE, InjectedGatewayFault
from oban_style_queue.migrate import revoked
from push_readmodel.scheduler import ReadModel
from tests.designs.violations.world import KILLED, World, until

pytestmark = pytest.mark.processes

Make = Callable[..., World]


@pytest.mark.parametrize("point", ["after_commit", "before_publish"])
def test_an_application_killed_between_commit_and_publish_loses_it(world: Make, point: str) -> None:
    w = world("oban_style_queue")
    w.arm(Failpoint(point=point, action="kill"))

    assert w.application("a", in_s=3600) == KILLED
    assert w.pending() == {}


def test_hardened_the_row_says_that_it_is_wanted_and_no_message_will_ever_ask(world: Make) -> None:
    w = world("oban_style_queue:hardened")
    w.arm(Failpoint(point="before_publish", action="kill"))

    assert w.application("a", in_s=3600) == KILLED
    assert w.pending() == {"a/1": "row in wanted_notifications, and no message in the broker"}


def test_staged_the_job_is_in_the_same_transaction(world: Make) -> None:
    w = world("oban_style_queue:staged")
    w.arm(Failpoint(point="after_commit", action="kill"))

    assert w.application("a", in_s=3600) == KILLED
    assert list(w.pending()) == ["a/1"]


def test_a_task_that_had_begun_is_lost_with_its_worker_because_it_was_acknowledged_before(world: Make) -> None:
    w = world("oban_style_queue")
    w.schedule("a")
    w.arm(Failpoint(point="before_deliver", action="sleep", seconds=60))

    with w.worker() as worker:
        # The worker's main process acknowledges, a moment after its pool has begun.
        until(lambda: bool(hits(w.failpoint)) and not w.pending())
        worker.end()

    assert w.delivered() == {}
    assert w.pending() == {}


def test_a_task_that_waits_for_its_time_is_stuck_when_its_worker_is_killed(world: Make) -> None:
    w = world("oban_style_queue")
    with w.worker() as worker:
        w.schedule("a", in_s=2)
        until(lambda: "not acknowledged" in w.pending().get("a/1", ""))
        worker.end()
    with w.worker():
        until(lambda: "not acknowledged" in w.pending()["a/1"])

    assert w.delivered() == {}


def test_hardened_what_a_killed_worker_held_comes_back(world: Make) -> None:
    w = world("oban_style_queue:hardened", rescue_after=timedelta(seconds=1))
    with w.worker() as worker:
        w.schedule("a", in_s=2)
        until(lambda: "unacknowledged" in w.pending()["a/1"])
        worker.end()
    with w.worker():
        until(lambda: not w.pending())

    assert w.delivered() == {"a": 1}


def test_hardened_a_lock_that_a_dying_worker_left_keeps_everything_where_it_is(world: Make) -> None:
    """kombu searches for what dead workers held under a lock; here somebody died who had it for five minutes."""
    w = world("oban_style_queue:hardened", rescue_after=timedelta(seconds=1))
    with w.worker() as worker:
        w.schedule("a", in_s=2)
        until(lambda: "unacknowledged" in w.pending()["a/1"])
        worker.end()
    with redis.Redis.from_url(w.settings.broker_url) as broker:
        broker.set("unacked_mutex", "a dead worker's", px=290_000)
    with w.worker(), redis.Redis.from_url(w.settings.broker_url) as broker:
        until(lambda: "locked for" in w.pending()["a/1"])
        # The new worker has looked several times by then: it does so every second.
        w.schedule("b", in_s=5)
        until(lambda: w.delivered()["b"] == 1)
        assert w.delivered()["a"] == 0

        broker.delete("unacked_mutex")
        until(lambda: w.delivered()["a"] == 1)


def test_due_later_than_the_visibility_timeout_it_is_delivered_several_times(world: Make) -> None:
    w = world("oban_style_queue", visibility_timeout=timedelta(seconds=1))
    with w.worker():
        w.schedule("a", in_s=5)
        until(lambda: w.delivered()["a"] >= 2)


def test_hardened_the_copies_find_nothing_to_do(world: Make) -> None:
    w = world("oban_style_queue:hardened", rescue_after=timedelta(seconds=1))
    with w.worker() as worker:
        w.schedule("a", in_s=4)
        until(lambda: not w.pending())
        # Each copy leaves a line when it is done.
        log = w.failpoint.with_name("worker-1.log")
        until(lambda: log.read_text().count("succeeded in") >= 2)
        assert worker.alive()

    assert w.delivered() == {"a": 1}


@pytest.mark.parametrize("name", ["oban_style_queue", "oban_style_queue:hardened"])
def test_what_the_broker_hands_to_a_worker_that_dies_before_it_reads_is_lost(world: Make, name: str) -> None:
    """kombu pops a message, and only then writes it down as unacknowledged: two steps, with a worker in between."""
    w = world(name)
    with w.worker() as worker, redis.Redis.from_url(w.settings.broker_url) as broker:
        # The first one opens this process's connections, so that the second is quick.
        w.schedule("before")
        until(lambda: w.delivered()["before"] == 1 and not w.pending())
        # kombu asks for a second at a time: a question that has just been put has most of it left.
        for _ in range(2):
            asked = questions(broker)
            until(lambda before=asked: questions(broker) > before)
        worker.pause()
        w.schedule("a")
        worker.end()

    assert set(w.pending().values()) <= {"row in wanted_notifications, and no message in the broker"}
    assert w.delivered() == {"before": 1}


def questions(broker: redis.Redis) -> int:
    """How many commands that connection has sent whose last one asks for a message; it asks on and on."""
    asking = [client for client in broker.client_list() if client["cmd"] == "brpop"]
    return max((int(client["tot-cmds"]) for client in asking), default=0)


def test_a_cancel_that_no_worker_hears_is_not_kept(world: Make) -> None:
    w = world("oban_style_queue")
    w.schedule("a", in_s=1)
    w.cancel("a")

    with w.worker():
        until(lambda: w.delivered()["a"] == 1)


def test_a_cancel_is_forgotten_when_the_workers_restart(world: Make) -> None:
    w = world("oban_style_queue")
    with w.worker() as worker:
        w.schedule("a", in_s=8)
        until(lambda: "not acknowledged" in w.pending().get("a/1", ""))
        w.cancel("a")
        log = w.failpoint.with_name("worker-1.log")
        until(lambda: "Tasks flagged as revoked: a/1" in log.read_text())
        worker.terminate()
        until(worker.main_ended)
    with w.worker():
        until(lambda: w.delivered()["a"] == 1)


@pytest.mark.parametrize("name", ["oban_style_queue:hardened", "oban_style_queue:staged"])
def test_a_cancel_that_is_written_down_holds(world: Make, name: str) -> None:
    w = world(name)
    w.schedule("a", "b", in_s=1)
    w.cancel("a")

    with w.worker():
        until(lambda: w.delivered()["b"] == 1 and not w.pending())

    assert w.delivered() == {"b": 1}


LIMITED = """
from oban_style_queue.celeryapp import app
app.conf.worker_eta_task_limit = 2
"""


@pytest.mark.parametrize("app", ["limited", "oban_style_queue.celeryapp"])
def test_with_a_limit_on_eta_tasks_what_is_due_now_waits_behind_what_is_far_away(
    world: Make, tmp_path: Path, app: str
) -> None:
    """The limit caps a worker's memory, and far tasks hold the places in it until they are due."""
    w = world("oban_style_queue")
    (tmp_path / "limited.py").write_text(LIMITED)
    role = w.design.roles[0]
    argv = tuple(app if part == "oban_style_queue.celeryapp" else part for part in role.argv)
    w.design = replace(w.design, roles=[replace(role, argv=argv)])

    with w.worker(PYTHONPATH=os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])):
        w.schedule(*(f"far-{number}" for number in range(4)), in_s=8)
        w.schedule("now")
        until(lambda: w.delivered()["now"] == 1)

    assert (len(w.delivered()) > 1) == (app == "limited")


def test_a_delivery_that_is_refused_once_is_not_tried_again(world: Make) -> None:
    w = world("oban_style_queue")
    gateway_fault = w.settings.deliveries.with_name(GATEWAY_FAULT_FILE)
    InjectedGatewayFault(mode="refuse").begin(gateway_fault)
    w.schedule("a")

    with w.worker():
        until(lambda: InjectedGatewayFault.hit_count(gateway_fault) == 1)
        InjectedGatewayFault.end(gateway_fault)
        w.schedule("b", in_s=3)
        until(lambda: w.delivered()["b"] == 1)
        until(lambda: w.pending() == {})

    assert w.delivered() == {"b": 1}


def test_a_worker_that_is_only_slow_is_taken_for_dead_and_its_job_done_twice(world: Make) -> None:
    w = world("oban_style_queue:staged", rescue_after=timedelta(seconds=1))
    w.arm(Failpoint(point="after_deliver", action="sleep", seconds=4))
    w.schedule("a")

    with w.worker():
        until(lambda: w.delivered()["a"] == 2)


def test_a_clock_that_is_fast_when_the_task_arrives_makes_it_early(world: Make, tmp_path: Path) -> None:
    if reason := faketime.unavailable():
        pytest.skip(reason)
    w = world("oban_style_queue")
    skewed = SkewedClock(tmp_path / "clock")
    skewed.set(3600)

    with w.worker(**skewed.environment()):
        w.schedule("a", in_s=3600)
        until(lambda: w.delivered()["a"] == 1, within_s=5)


def test_a_broker_without_a_disk_forgets_what_it_had_taken_charge_of(world: Make, tempdir: Path) -> None:
    directory = tempdir / f"forgetful-{os.getpid()}"
    with valkey(directory, tempdir=tempdir, persistence="none") as (url, broker):
        w = world("oban_style_queue", broker_url=url)
        w.schedule("a", in_s=3600)
        assert list(w.pending()) == ["a/1"]
        broker.kill()
        until(broker.gone)
        broker.start()
        broker.wait_ready()

        assert w.pending() == {}


def test_a_migration_leaves_out_what_was_cancelled_before_it_and_has_the_workers_forget_the_rest(world: Make) -> None:
    w = world("oban_style_queue")
    both = registry.load("oban_style_queue-to-push_readmodel")
    both.install(w.engine)
    assert w.design.migrate is not None

    with w.worker():
        w.schedule("cancelled", "kept", in_s=6)
        until(lambda: sum("memory" in where for where in w.pending().values()) == 2)
        w.cancel("cancelled")
        app = importlib.import_module("oban_style_queue.celeryapp").app
        until(lambda: "cancelled/1" in revoked(app, {"worker-1@oban_style_queue"}))
        moved = w.design.migrate(w.settings, w.engine, NewDesignTarget(both.name, ReadModel()), None)
        left = w.pending()
        held_by_the_other = registry.load("push_readmodel").pending(w.settings, w.engine)
        # Its time comes, and the worker that had it in memory does nothing.
        w.schedule("after", in_s=7)
        until(lambda: w.delivered()["after"] == 1)

    assert (moved, left, [one.op for one in held_by_the_other]) == (1, {}, ["kept/1"])
    assert w.delivered() == {"after": 1}
