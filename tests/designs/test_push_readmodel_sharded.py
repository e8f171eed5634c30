"""One application on two databases: a notification is in the database of its transaction, and one fleet drains both."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from duetime.errors import BadUsage
from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.processes.embedded_servers import EmbeddedServer, initialise_cluster, postgres
from duetime.harness.processes.external_services import own_database
from duetime.harness.processes.services import Endpoints
from duetime.harness.processes.worker_process import WorkerProcess, stop_all
from duetime.runtime.heartbeat import Heartbeat, read_heartbeat
from duetime.settings import Settings
from push_readmodel.drain_loop import DrainLoop
from push_readmodel.guards import TableRefused
from push_readmodel.scheduler import ReadModelScheduler
from push_readmodel.variants.sharded import Fleet, ShardHeartbeats, check_environment, design
from tests.commands import compared
from tests.designs.read_model import FAR, RecordingGateway, note, schedule, stored
from tests.eventually import assert_eventually

SOON = timedelta(seconds=0.3)
ON_TIME_S = 5.0
"""Generous, for a busy machine; a shard that is down is away for longer."""


@pytest.fixture
def other(shared_servers: Endpoints, engine: Engine) -> Iterator[Engine]:
    """The second shard; `engine` is the first."""
    with own_database(shared_servers.database_url) as url:
        other = create_engine(url, poolclass=NullPool)
        for shard in (engine, other):
            design.install(shard)
        yield other
        other.dispose()


@contextmanager
def drained(fleet: Fleet) -> Iterator[None]:
    thread = threading.Thread(target=fleet.run)
    thread.start()
    try:
        yield
    finally:
        fleet.stop()
        thread.join(timeout=10)


def fleet_of(gateway: RecordingGateway, *shards: Engine) -> Fleet:
    return Fleet([DrainLoop(shard, gateway) for shard in shards])


def test_a_notification_is_in_the_shard_of_its_session_only_and_the_fleet_delivers_it(
    engine: Engine, other: Engine
) -> None:
    far, due, gateway = note("far", due_at=FAR), note("due", due_at=datetime.now(UTC) + SOON), RecordingGateway()

    with drained(fleet_of(gateway, engine, other)):
        schedule(other, far, due)
        assert (stored(engine), stored(other)) == ([], ["due/1", "far/1"])
        assert_eventually(lambda: gateway.ops == ["due/1"])
        schedule(engine, replace(due, key="of-the-first"))
        assert_eventually(lambda: gateway.ops == ["due/1", "of-the-first/1"])

    assert (stored(engine), stored(other)) == ([], ["far/1"])


def test_a_rollback_and_a_cancel_concern_their_own_shard_only(engine: Engine, other: Engine) -> None:
    """A key is unique in its shard, so an application has to bring each key to one shard: that of its row."""
    schedule(engine, note("a", due_at=FAR))
    schedule(other, note("a", due_at=FAR))
    with Session(other) as session:
        ReadModelScheduler().schedule(note("b", due_at=FAR), session=session)
        session.rollback()
    with Session(other) as session:
        ReadModelScheduler().cancel("a", revision=2, session=session)
        session.commit()

    assert (stored(engine), stored(other)) == (["a/1"], [])


def test_a_loop_that_cannot_go_on_ends_the_fleet(engine: Engine, other: Engine) -> None:
    with other.begin() as connection:
        connection.execute(text("DROP TABLE pending_notifications"))

    with pytest.raises(TableRefused):
        fleet_of(RecordingGateway(), engine, other).run()


def test_a_shard_without_a_heartbeat_makes_the_worker_overdue(tmp_path: Path) -> None:
    file = tmp_path / "heartbeat"
    heartbeats = ShardHeartbeats(Heartbeat(file))
    first, second = heartbeats.of_shard("shard 1"), heartbeats.of_shard("shard 2")

    first.beat("checked", again_within_s=5)
    silent = read_heartbeat(file)
    second.beat("checked", again_within_s=7)
    both = read_heartbeat(file)

    assert silent
    assert both
    assert silent.overdue_s(time.monotonic_ns()) > 0
    assert silent.activity == "checked in shard 1, and awaits shard 2"
    assert 4 < both.again_within_s <= 5


@pytest.mark.parametrize(
    "variable", [{"DUETIME_METRICS_PORT": "9464"}, {"DUETIME_DIRECT_DATABASE_URL": "postgresql://u@h/d"}]
)
def test_what_describes_one_database_is_refused(settings: Settings, variable: Mapping[str, str]) -> None:
    environment = {**settings.environment(), "DUETIME_SHARDS": "postgresql://u@a/x postgresql://u@b/x"}
    check_environment(environment)

    with pytest.raises(BadUsage, match="describe one database"):
        check_environment({**environment, **variable})


def test_the_shards_survive_the_environment(settings: Settings) -> None:
    shards = ("postgresql+psycopg://u@a/x", "postgresql+psycopg://u@b/x")

    assert Settings.from_environment(replace(settings, shards=shards).environment()).shards == shards
    assert Settings.from_environment(settings.environment()).shards == ()


@pytest.mark.processes
def test_one_worker_process_drains_both_shards(
    engine: Engine, other: Engine, settings: Settings, tmp_path: Path, tempdir: Path
) -> None:
    urls = tuple(shard.url.render_as_string(hide_password=False) for shard in (engine, other))
    worker = WorkerProcess(
        name="worker-1",
        role=design.roles[0],
        settings=replace(settings, design=design.name, shards=urls),
        state=tmp_path / "worker-1",
        log=tmp_path / "worker-1.log",
        tempdir=tempdir,
    )
    worker.start()
    try:
        worker.wait_ready(CancelToken())
        schedule(engine, note("a"))
        schedule(other, note("b"))
        assert_eventually(lambda: delivered(settings.deliveries) == ["a/1", "b/1"], within_s=40)
        assert_eventually(lambda: (stored(engine), stored(other)) == ([], []))
    finally:
        stop_all([worker], within_s=10)


@pytest.mark.processes
def test_a_shard_that_is_down_delays_no_notification_of_the_other(tempdir: Path, tmp_path: Path) -> None:
    """Two servers, one of them killed."""
    template, place = tempdir / f"template-{tmp_path.name}", tempdir / f"shards-{tmp_path.name}"
    place.mkdir()
    initialise_cluster(template, tempdir=tempdir)
    with (
        postgres(place / "a", template=template, tempdir=tempdir) as (first_url, first_server),
        postgres(place / "b", template=template, tempdir=tempdir) as (second_url, _),
    ):
        first, second = (create_engine(url, poolclass=NullPool) for url in (first_url, second_url))
        for shard in (first, second):
            design.install(shard)
        gateway = RecordingGateway()
        with drained(fleet_of(gateway, first, second)):
            schedule(first, note("warm-up"))
            assert_eventually(lambda: gateway.ops == ["warm-up/1"])
            schedule(first, note("delayed", due_at=datetime.now(UTC) + 4 * SOON))
            kill(first_server)
            for number in range(5):
                due_at = datetime.now(UTC) + SOON
                schedule(second, note(f"k{number}", due_at=due_at))
                assert_eventually(lambda: f"k{number}/1" in gateway.ops, within_s=SOON.total_seconds() + ON_TIME_S)  # noqa: B023 - called at once
            assert "delayed/1" not in gateway.ops
            first_server.start()
            first_server.wait_ready()
            assert_eventually(lambda: gateway.ops[-1] == "delayed/1")

    assert len(gateway.ops) == len(set(gateway.ops)) == 7


@pytest.mark.runs
@pytest.mark.full
def test_a_run_uses_both_shards(tmp_path: Path) -> None:
    """Workers that drain only the first miss what the clients of the second scheduled, and nothing else."""
    sound, broken = design.name, f"{Path(__file__).with_name('first_shard_only.py')}:design"
    _, cells = compared("--designs", f"{sound},{broken}", "--scenarios", "calm", out=tmp_path)
    found = {name: cell["counts"] for (_, name), cell in cells.items()}

    assert (found[sound]["missed"], found["first_shard_only"]["stuck"]) == (0, found["first_shard_only"]["missed"])
    assert 0 < found["first_shard_only"]["missed"] < found[sound]["delivered"]


def kill(server: EmbeddedServer) -> None:
    server.kill()
    assert_eventually(server.gone)


def delivered(deliveries: Path) -> list[str]:
    if not deliveries.exists():
        return []
    return sorted(json.loads(line)["op"] for line in deliveries.read_text().splitlines())
