"""`duetime failed` lists, retries and discards what the read model has given up."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from duetime import registry
from duetime.cli.failed import failed_group
from duetime.clock import system_clock
from duetime.errors import BadUsage
from duetime.harness.processes.services import Endpoints
from duetime.interface import GivenUpStore
from duetime.runtime.gateway_faults import GATEWAY_FAULT_FILE, InjectedGatewayFault
from duetime.settings import Settings
from duetime.shell_command import shell_command
from push_readmodel.connection import connect
from push_readmodel.drain import drain
from push_readmodel.scheduler import CHANNEL, ReadModelScheduler
from push_readmodel.schema import metadata
from tests.commands import duetime, json_lines
from tests.designs.read_model import FAR, PAST, SECRET, RecordingGateway, give_up, given_up, note, schedule, stored
from tests.eventually import assert_eventually


@pytest.fixture(autouse=True)
def _tables(engine: Engine) -> None:
    metadata.create_all(engine)


def run(settings: Settings, *arguments: str, stdin: str | None = None) -> Result:
    environment = replace(settings, design="push_readmodel").environment()
    return CliRunner().invoke(failed_group, arguments, env=environment, input=stdin)


@pytest.mark.processes
def test_the_real_command_lists_retries_and_discards(settings: Settings, engine: Engine) -> None:
    give_up(engine, "new", given_up_at=PAST + timedelta(days=1))
    give_up(engine, "old", error="SMTPError: 550\nno such\tmailbox \x1b[31m")
    variables = {"DUETIME_DATABASE_URL": settings.database_url, "DUETIME_BROKER_URL": settings.broker_url}

    listed = duetime("failed", "list", "push_readmodel", **variables)
    retried = duetime("failed", "retry", "push_readmodel", "new", **variables)
    discarded = duetime("failed", "discard", "push_readmodel", "--all", "--yes", **variables)

    assert [line.split("\t")[0] for line in listed.stdout.splitlines()] == ["old", "new"], listed.stderr
    assert listed.stdout.splitlines()[0].split("\t")[1:] == [
        *("1", "test", "2020-01-01 00:00:00+00:00", "2020-01-01 00:00:00+00:00", "3", "-"),
        r"SMTPError: 550\nno such\tmailbox \x1b[31m",
    ]
    assert (retried.stdout, retried.returncode) == ("put back new/1\n", 0)
    assert (discarded.stdout, discarded.returncode) == ("removed old/1\n", 0)
    assert (stored(engine), given_up(engine)) == (["new/1"], [])


@pytest.mark.processes
def test_a_worker_gives_up_and_delivers_what_is_retried(settings: Settings, engine: Engine, tmp_path: Path) -> None:
    schedule(engine, note("a"))
    fault_file = settings.deliveries.with_name(GATEWAY_FAULT_FILE)
    InjectedGatewayFault(mode="refuse").begin(fault_file)
    environment = {**replace(settings, design="push_readmodel").environment(), "DUETIME_MAX_ATTEMPTS": "1"}
    command = [sys.executable, "-m", "duetime.cli", "serve", "push_readmodel"]
    with (tmp_path / "log").open("w") as log:
        worker = subprocess.Popen(
            command, cwd=tmp_path, env={**os.environ, **environment}, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        assert_eventually(lambda: given_up(engine) == ["a/1"], within_s=60, message=(tmp_path / "log").read_text)
        InjectedGatewayFault.end(fault_file)
        retried = run(settings, "retry", "push_readmodel", "a")
        assert_eventually(lambda: stored(engine) == [], message=(tmp_path / "log").read_text)
    finally:
        worker.terminate()
        worker.wait(timeout=30)

    assert retried.output == "put back a/1\n"
    assert [line["op"] for line in json_lines(settings.deliveries)] == ["a/1"]
    assert given_up(engine) == []
    assert "giving up 'a' after 1 attempts" in (tmp_path / "log").read_text()


@pytest.mark.processes
def test_a_terminal_gets_a_table(settings: Settings, engine: Engine) -> None:
    give_up(engine, "a", error="[red]refused[/red]")
    ours, theirs = pty.openpty()
    environment = {**os.environ, **replace(settings, design="push_readmodel").environment(), "COLUMNS": "160"}
    command = [sys.executable, "-m", "duetime.cli", "failed", "list", "push_readmodel"]
    subprocess.run(command, env=environment, stdout=theirs, check=True)
    os.close(theirs)
    printed = b""
    while b"refused" not in printed:
        printed += os.read(ours, 4096)
    os.close(ours)

    assert "last error" in printed.decode()
    assert "[red]refused[/red]" in printed.decode()


def test_recipients_are_printed_only_if_asked_for(settings: Settings, engine: Engine) -> None:
    give_up(engine, "a")

    for arguments in (["list", "push_readmodel"], ["list", "push_readmodel", "--json"]):
        assert SECRET not in run(settings, *arguments).output
        assert SECRET in run(settings, *arguments, "--recipients").output


def test_the_list_is_limited_and_says_so(settings: Settings, engine: Engine) -> None:
    for number in range(3):
        give_up(engine, f"k{number}", given_up_at=PAST + timedelta(days=number))

    first = run(settings, "list", "push_readmodel", "--limit", "2", "--json")

    assert [item["key"] for item in json.loads(first.stdout)] == ["k0", "k1"]
    assert "these are the first 2 of more; write --limit 0 for all" in first.stderr
    assert len(run(settings, "list", "push_readmodel", "--limit", "0").stdout.splitlines()) == 3


def test_a_retried_notification_is_due_now_wakes_the_workers_and_begins_anew(
    settings: Settings, engine: Engine
) -> None:
    give_up(engine, "a")
    with closing(connect(engine)) as listening:
        listening.execute(f"LISTEN {CHANNEL}")
        assert run(settings, "retry", "push_readmodel", "a").exit_code == 0
        [notify] = list(listening.notifies(timeout=5, stop_after=1))
    gateway = RecordingGateway()
    drain(engine, gateway)

    assert abs(float(notify.payload) - system_clock().timestamp()) < 5
    assert (gateway.ops, gateway.attempts) == (["a/1"], [1])
    assert (stored(engine), given_up(engine)) == ([], [])


def test_a_retry_skips_a_key_that_is_pending_and_says_which_revision(settings: Settings, engine: Engine) -> None:
    for key in ("replaced", "repeated", "a"):
        give_up(engine, key)
    schedule(engine, note("replaced", revision=2, due_at=FAR), note("repeated", due_at=FAR))

    done = run(settings, "retry", "push_readmodel", "--all")

    assert done.exit_code == 1
    assert done.output.splitlines() == [
        "put back a/1",
        "skipped repeated/1: revision 1 is pending",
        "skipped replaced/1: revision 2 is pending",
    ]
    assert stored(engine) == ["a/1", "repeated/1", "replaced/2"]
    assert given_up(engine) == ["repeated/1", "replaced/1"]


def test_a_retry_does_not_wait_for_a_worker_that_delivers_a_newer_revision(settings: Settings, engine: Engine) -> None:
    give_up(engine, "a")
    schedule(engine, note("a", revision=2))
    with engine.begin() as worker:
        worker.exec_driver_sql("DELETE FROM pending_notifications")
        done = run(settings, "retry", "push_readmodel", "a")

    assert done.output == "skipped a/1: revision 2 is pending\n"


def test_a_retry_gives_way_to_a_transaction_that_schedules_the_key(settings: Settings, engine: Engine) -> None:
    give_up(engine, "a")
    with Session(engine) as session:
        ReadModelScheduler().schedule(note("a", revision=2), session=session)
        done = run(settings, "retry", "push_readmodel", "a")
        ReadModelScheduler().cancel("a", revision=3, session=session)
        session.commit()

    assert isinstance(done.exception, BadUsage)
    assert "another transaction holds a/1" in str(done.exception)
    assert (stored(engine), given_up(engine)) == ([], [])


@pytest.mark.parametrize("verb", ["retry", "discard"])
def test_a_bad_request_changes_nothing_and_says_what_to_write(settings: Settings, engine: Engine, verb: str) -> None:
    give_up(engine, "a")

    for arguments, message in {
        (): "or --all",
        ("a", "--all"): "or --all",
        ("a", "b"): "nothing is given up under 'b', and nothing was changed",
    }.items():
        done = run(settings, verb, "push_readmodel", *arguments)
        assert isinstance(done.exception, BadUsage) and message in str(done.exception)
    assert given_up(engine) == ["a/1"]


def test_discarding_everything_without_a_terminal_needs_yes(settings: Settings, engine: Engine) -> None:
    give_up(engine, "a")

    done = run(settings, "discard", "push_readmodel", "--all", stdin="y\n")

    assert isinstance(done.exception, BadUsage) and "add --yes" in str(done.exception)
    assert given_up(engine) == ["a/1"]


def test_many_are_moved_in_several_transactions(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("push_readmodel.failed.ROWS_PER_TRANSACTION", 2)
    for number in range(5):
        give_up(engine, f"k{number}")
    store = store_of_the_read_model()

    assert list(store.retry(engine, store.find(engine))) == [f"k{number}/1" for number in range(5)]
    assert (len(stored(engine)), given_up(engine)) == (5, [])


def test_a_discarded_revision_that_was_replaced_meanwhile_stays(engine: Engine) -> None:
    give_up(engine, "a", revision=1)
    store = store_of_the_read_model()
    listed = store.find(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE failed_notifications SET revision = 2")

    assert list(store.discard(engine, listed)) == []
    assert list(store.retry(engine, listed)) == []
    assert given_up(engine) == ["a/2"]


def test_a_design_that_gives_nothing_up_is_refused_by_name(settings: Settings) -> None:
    done = run(settings, "list", "pull_worker")

    assert isinstance(done.exception, BadUsage)
    assert "pull_worker keeps nothing" in str(done.exception)


def test_a_database_without_the_table_is_refused_with_the_command_to_run(settings: Settings, engine: Engine) -> None:
    metadata.drop_all(engine)

    done = run(settings, "list", "push_readmodel")

    assert isinstance(done.exception, BadUsage)
    assert f"({shell_command('install', 'push_readmodel')})" in str(done.exception)


@pytest.fixture
def odd_database(shared_servers: Endpoints) -> Iterator[str]:
    """A database with the encoding SQL_ASCII, an American date style and a time zone 14 hours ahead."""
    name = f"odd_{uuid.uuid4().hex[:8]}"
    admin = create_engine(shared_servers.database_url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with admin.connect() as connection:
        encoding = "TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'"
        connection.exec_driver_sql(f"CREATE DATABASE {name} {encoding}")
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET DateStyle = 'SQL, MDY'")
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET TimeZone = 'Pacific/Kiritimati'")
        yield make_url(shared_servers.database_url).set(database=name).render_as_string(hide_password=False)
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


def test_an_odd_database_is_listed_like_any_other(odd_database: str, settings: Settings) -> None:
    odd = create_engine(odd_database, poolclass=NullPool, connect_args={"client_encoding": "utf8"})
    metadata.create_all(odd)
    give_up(odd, "ключ", given_up_at=datetime(9999, 12, 31, 23, tzinfo=UTC), error="grün")

    listed = run(replace(settings, database_url=odd_database), "list", "push_readmodel", "--json")
    retried = run(replace(settings, database_url=odd_database), "retry", "push_readmodel", "ключ")

    [item] = json.loads(listed.stdout)
    assert (item["key"], item["given_up_at"], item["last_error"]) == ("ключ", "9999-12-31T23:00:00+00:00", "grün")
    assert retried.output == "put back ключ/1\n"


def store_of_the_read_model() -> GivenUpStore:
    store = registry.load("push_readmodel").given_up
    assert store is not None
    return store
