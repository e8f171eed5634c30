"""What a failover of the broker loses: what only the old primary had, every time, or nothing if it refuses to write."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
import redis

from duetime.faults.broker_failover import BrokerFailover
from duetime.faults.fault import FaultNotVerified
from duetime.harness.plan.plan import BrokerReplication
from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.processes.cleanup import run_tempdir
from duetime.harness.processes.replicated_broker import MARK, PRIMARY, ReplicatedBroker, replicated_valkey
from duetime.runtime.broker import broker_client
from duetime.settings import Settings

pytestmark = pytest.mark.processes


@contextmanager
def replicated(replication: BrokerReplication) -> Iterator[tuple[ReplicatedBroker, redis.Redis]]:
    """Run a replicated broker; yield it and a client that finds its primary through Sentinel, as the designs do."""
    with run_tempdir() as tempdir, replicated_valkey(tempdir / "b", tempdir=tempdir, replication=replication) as broker:
        settings = Settings.from_environment(
            {
                "DUETIME_DESIGN": "",
                "DUETIME_DATABASE_URL": "postgresql://",
                "DUETIME_BROKER_URL": broker.url,
                "DUETIME_BROKER_PRIMARY": PRIMARY,
            }
        )
        with broker_client(settings, socket_timeout=5, decode_responses=True) as client:
            yield broker, client


def push(client: redis.Redis, numbers: range) -> None:
    for number in numbers:
        client.rpush("numbers", number)


def stored(client: redis.Redis) -> list[int]:
    return [int(number) for number in client.lrange("numbers", 0, -1)]


def heal(fault: BrokerFailover) -> None:
    fault.heal()
    fault.verify_healed(CancelToken())


@pytest.mark.parametrize("again", [0, *(pytest.param(number, marks=pytest.mark.full) for number in range(1, 10))])
def test_what_was_acknowledged_while_the_replica_was_cut_off_is_lost_every_time(again: int) -> None:
    with replicated("asynchronous") as (broker, client):
        push(client, range(10))
        while broker.replicated_offset() < broker.acknowledged_offset():
            time.sleep(0.01)
        fault = BrokerFailover(broker, refuses=False)
        fault.inject()
        push(client, range(10, 20))
        evidence = fault.verify_injected(CancelToken())
        heal(fault)

        assert stored(client) == list(range(10)), again
        assert "the replica lacks" in evidence
        assert fault.lost
        assert fault.lost.size > 0


def test_a_primary_that_needs_a_replica_refuses_what_it_could_lose() -> None:
    with replicated("min_replicas") as (broker, client):
        push(client, range(10))
        broker.cut_replication()
        while not broker.refusal():
            time.sleep(0.01)

        with pytest.raises(redis.ResponseError, match="NOREPLICAS"):
            push(client, range(10, 20))
        # BRPOP is a write, too: it is refused as well, and a Celery worker that waits in it exits.
        with pytest.raises(redis.ResponseError, match="NOREPLICAS"):
            client.brpop("numbers", timeout=1)


@pytest.mark.full
def test_nothing_that_it_acknowledged_is_lost_and_two_servers_do_not_serve_until_both_are_back() -> None:
    with replicated("min_replicas") as (broker, client):
        push(client, range(10))
        fault = BrokerFailover(broker, refuses=True)
        fault.inject()
        evidence = fault.verify_injected(CancelToken())
        while not broker.taken_over():
            time.sleep(0.01)
        with pytest.raises(redis.ResponseError, match="NOREPLICAS"):
            push(client, range(10, 20))
        heal(fault)
        push(client, range(20, 30))

        assert "it refused a write: NOREPLICAS" in evidence
        assert stored(client) == [*range(10), *range(20, 30)]


@pytest.mark.full
@pytest.mark.parametrize(
    ("replication", "reason"),
    [
        ("asynchronous", "nothing was acknowledged that the replica does not have"),
        ("min_replicas", "the primary accepts writes, as if it had a replica"),
    ],
)
def test_a_failover_of_a_replica_that_was_not_cut_off_is_not_verified(
    replication: BrokerReplication, reason: str
) -> None:
    with replicated(replication) as (broker, _):
        fault = BrokerFailover(broker, refuses=replication == "min_replicas")
        with pytest.raises(FaultNotVerified, match=reason):
            fault.verify_injected(CancelToken())
        heal(fault) if replication == "asynchronous" else fault.heal()


@pytest.mark.full
def test_a_replica_that_hangs_is_noticed_only_after_a_second_and_writes_until_then_are_acknowledged() -> None:
    """min-replicas-max-lag counts seconds without a sign of life; a replica that is cut off is noticed at once."""
    with replicated("min_replicas") as (broker, client):
        replica = psutil.Process(broker.replica.pid)
        replica.suspend()
        try:
            began, acknowledged = time.monotonic(), 0
            while not broker.refusal():
                acknowledged = int(client.get(MARK) or 0)
                time.sleep(0.01)
            refused_after_s = time.monotonic() - began
        finally:
            replica.resume()

        assert acknowledged > 0
        assert 0.5 < refused_after_s < 5
