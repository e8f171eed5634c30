"""The read model in hash partitions: nothing is lost, repeated or left."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

import pytest
from sqlalchemy import Engine, inspect, text

from duetime.errors import BadUsage
from duetime.settings import Settings
from push_readmodel.connection import connect
from push_readmodel.drain import Drain
from push_readmodel.drain_settings import DrainSettings
from push_readmodel.partitions import install_partitioned
from push_readmodel.schema import metadata, pending
from push_readmodel.statements import CLAIM, DELETE
from push_readmodel.status import status
from push_readmodel.variants.delete_first import DrainDeletingFirst
from push_readmodel.variants.partitioned import BACKLOG_ROWS, DrainOwnPartitionsFirst
from tests.commands import duetime
from tests.designs.read_model import FAR, PAST, RecordingGateway, note, schedule, stored
from tests.eventually import assert_eventually

ROWS = 100


@pytest.fixture(autouse=True)
def _table(engine: Engine) -> None:
    install_partitioned(engine, 8)


@pytest.mark.parametrize("drain_class", [Drain, DrainDeletingFirst, DrainOwnPartitionsFirst])
def test_due_rows_are_delivered_once_and_far_rows_stay(engine: Engine, drain_class: type[Drain]) -> None:
    """Rows of different partitions have the same ctid."""
    due = [note(f"due{number}", due_at=PAST + timedelta(seconds=number)) for number in range(ROWS)]
    far = [note(f"far{number}", due_at=FAR) for number in range(ROWS)]
    schedule(engine, *due, *far)
    gateway = RecordingGateway()

    with closing(drain_class(connect(engine), gateway)) as draining:
        draining.drain_all()

    assert sorted(gateway.ops) == sorted(notification.op for notification in due)
    assert stored(engine) == sorted(notification.op for notification in far)


def test_rows_of_all_partitions_are_delivered_in_due_order(engine: Engine) -> None:
    due = [note(f"due{number}", due_at=PAST + timedelta(seconds=number)) for number in range(ROWS)]
    schedule(engine, *due)
    gateway = RecordingGateway()

    with closing(Drain(connect(engine), gateway)) as draining:
        draining.drain_all()

    assert gateway.ops == [notification.op for notification in due]


def test_a_failed_delivery_puts_back_its_own_row_only(engine: Engine) -> None:
    schedule(engine, *(note(f"far{number}", due_at=FAR) for number in range(ROWS)))
    schedule(engine, *(note(f"bad{number}", recipient="bad@b.example") for number in range(ROWS)))

    with closing(Drain(connect(engine), RecordingGateway(refuse="bad@b.example"))) as draining:
        draining.drain_all()

    with engine.connect() as connection:
        tried = connection.execute(pending.select().where(pending.c.attempts > 0)).all()
    assert sorted(row.key for row in tried) == sorted(f"bad{number}" for number in range(ROWS))


def drain_side_by_side(drains: Iterable[Drain]) -> None:
    def drain_all(draining: Drain) -> None:
        with closing(draining):
            draining.drain_all()

    with ThreadPoolExecutor() as pool:
        list(pool.map(drain_all, drains))


def test_two_drains_share_the_partitions(engine: Engine) -> None:
    schedule(engine, *(note(f"k{number}") for number in range(3 * ROWS)))
    gateways = [RecordingGateway(), RecordingGateway()]

    drain_side_by_side(Drain(connect(engine), gateway, DrainSettings(batch_most=10)) for gateway in gateways)

    assert sorted(gateways[0].ops + gateways[1].ops) == sorted(f"k{number}/1" for number in range(3 * ROWS))
    assert stored(engine) == []


def test_a_newer_revision_replaces_the_older_one_in_its_partition(engine: Engine) -> None:
    schedule(engine, note("a"), note("a", revision=2, due_at=FAR))

    assert stored(engine) == ["a/2"]


def test_every_statement_walks_the_index_of_each_partition(engine: Engine) -> None:
    with closing(connect(engine)) as connection:
        connection.execute(f"PREPARE claim (timestamptz, interval, bigint) AS {CLAIM % ('$1', '$2', '$3')}")
        connection.execute(f"PREPARE gone (text[]) AS {DELETE % '$1'}")
        for values in ("claim ('0001-01-01', '0', 10)", "gone ('{a,b}')"):
            plan = "\n".join(row[0] for row in connection.execute(f"EXPLAIN EXECUTE {values}").fetchall())
            assert "Seq Scan" not in plan, plan
            assert "->  Sort" not in plan, plan


def test_the_figures_of_the_table_are_those_of_its_partitions(engine: Engine, settings: Settings) -> None:
    before = status(settings, engine)
    schedule(engine, *(note(f"far{number}", due_at=FAR) for number in range(2000)))
    after = status(settings, engine)

    assert after.pending == 2000
    assert (after.bytes_of_table or 0) > (before.bytes_of_table or 0) > 0
    assert (after.bytes_of_indexes or 0) > (before.bytes_of_indexes or 0) > 0


def test_each_partition_is_vacuumed_as_the_table_is(engine: Engine) -> None:
    query = text("SELECT relname, reloptions FROM pg_class WHERE relname ~ '^pending_notifications_[0-9]+$'")
    with engine.connect() as connection:
        options = {row.relname: row.reloptions for row in connection.execute(query)}

    assert len(options) == 8
    assert all("autovacuum_vacuum_threshold=5000" in of_partition for of_partition in options.values())


@pytest.mark.parametrize("partitions", [1, 4, 257])
def test_another_number_of_partitions_is_refused_and_changes_nothing(engine: Engine, partitions: int) -> None:
    with pytest.raises(BadUsage, match=f"--partitions {partitions}"):
        install_partitioned(engine, partitions)

    tables = inspect(engine).get_table_names()
    assert len([name for name in tables if name.startswith("pending_notifications_")]) == 8


def test_a_table_without_partitions_is_not_changed(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE pending_notifications"))
    metadata.create_all(engine)
    schedule(engine, note("a"))

    with pytest.raises(BadUsage, match="no partitions"):
        install_partitioned(engine, 8)
    assert stored(engine) == ["a/1"]


@pytest.mark.processes
def test_the_command_makes_partitions_and_may_be_repeated(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE pending_notifications"))
    url = engine.url.render_as_string(hide_password=False)
    arguments = ("install", "push_readmodel", "--partitions", "4")
    done = [duetime(*arguments, DUETIME_DATABASE_URL=url) for _ in range(2)]
    other = duetime("install", "push_readmodel", "--partitions", "5", DUETIME_DATABASE_URL=url)
    queue = duetime("install", "oban_style_queue", "--partitions", "4", DUETIME_DATABASE_URL=url)

    assert [one.returncode for one in done] == [0, 0], done[0].stderr
    assert (other.returncode, queue.returncode) == (2, 2)
    assert "exists with 4 partitions" in other.stderr
    assert "has no table to partition" in queue.stderr


def test_drains_in_a_backlog_share_the_partitions_and_take_over_those_of_a_drain_that_is_gone(engine: Engine) -> None:
    drains = [DrainOwnPartitionsFirst(connect(engine), RecordingGateway()) for _ in range(3)]
    for drain in drains:
        drain._own_partitions()

    shares = [set(drain._own_partitions()) for drain in drains]
    drains[0].close()
    assert_eventually(lambda: [len(drain._own_partitions()) for drain in drains[1:]] == [4, 4])
    drains[1].close()
    assert_eventually(lambda: len(drains[2]._own_partitions()) == 8)
    drains[2].close()

    assert sorted(map(len, shares)) == [2, 3, 3]
    assert set.union(*shares) == {f"pending_notifications_{number}" for number in range(8)}


def test_a_drain_in_a_backlog_empties_its_own_partitions_first_and_then_the_others(engine: Engine) -> None:
    """The other drain never delivers anything, as one that hangs."""
    rows = 8 * 3 * BACKLOG_ROWS
    schedule(engine, *(note(f"k{number}", due_at=PAST + timedelta(seconds=number)) for number in range(rows)))
    with engine.connect() as connection:
        query = text("SELECT key || '/1' AS op, tableoid::regclass::text AS name FROM pending_notifications")
        partition_of = {row.op: row.name for row in connection.execute(query)}
    gateway, settings = RecordingGateway(), DrainSettings(batch_most=BACKLOG_ROWS)

    with (
        closing(DrainOwnPartitionsFirst(connect(engine), RecordingGateway())) as hanging,
        closing(DrainOwnPartitionsFirst(connect(engine), gateway, settings)) as draining,
    ):
        hanging._own_partitions()
        draining._own_partitions()
        own = set(draining._own_partitions())
        assert draining.drain_all()[0] == rows

    first_of_others = 2 * BACKLOG_ROWS  # what was claimed from the table until it was known to be a backlog
    emptied = [op for op in gateway.ops[first_of_others:] if partition_of[op] in own]
    assert len(own) == 4
    assert gateway.ops[first_of_others : first_of_others + len(emptied)] == emptied
    assert sorted(gateway.ops) == sorted(partition_of)
    assert stored(engine) == []


def test_two_drains_that_prefer_partitions_deliver_a_backlog_once(engine: Engine) -> None:
    rows = 8 * 3 * BACKLOG_ROWS
    schedule(engine, *(note(f"k{number}") for number in range(rows)))
    gateways = [RecordingGateway(), RecordingGateway()]

    drain_side_by_side(DrainOwnPartitionsFirst(connect(engine), gateway) for gateway in gateways)

    assert sorted(gateways[0].ops + gateways[1].ops) == sorted(f"k{number}/1" for number in range(rows))
    assert stored(engine) == []
