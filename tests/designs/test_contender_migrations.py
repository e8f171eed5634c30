"""Migrations to and from libraries of others, whose schedulers run in interpreters of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine, TextClause, text

from duetime import registry
from duetime.errors import BadUsage
from duetime.interface import Notification
from duetime.migration import MigrationDesign, migration_design
from duetime.settings import Settings
from duetime.shell_command import shell_command
from push_readmodel.design import design as read_model
from tests.commands import compared, duetime, json_lines
from tests.designs.blocked_gateway import due_in, schedule, skip_unless_installed
from tests.designs.read_model import stored

FAR_S = 3600.0
PAYLOAD = {"x": [1, 2.5, "ü"], "y": {"z": None}}
DISCARD = text("UPDATE oban_jobs SET state = 'discarded'")
EXHAUST = text("UPDATE graphile_worker._private_jobs SET attempts = max_attempts")


def both_of(old: str, new: str) -> MigrationDesign:
    return migration_design(registry.load(old), registry.load(new))


def migrate(settings: Settings, old: str, new: str) -> str:
    """Run ``duetime migrate``; return what it printed."""
    done = duetime("migrate", old, new, **settings.environment())
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_clients_run_where_the_library_is_and_each_worker_in_the_environment_of_its_design() -> None:
    there, back = both_of("push_readmodel", "contender:oban"), both_of("contender:oban", "push_readmodel")
    oban = registry.load("contender:oban").contender

    assert there.contender == back.contender == oban
    assert [there.contender_of(role.name) for role in there.roles] == [None, oban]
    assert [back.contender_of(role.name) for role in back.roles] == [oban, None]


def test_between_two_libraries_clients_run_where_the_python_packages_are() -> None:
    both = both_of("contender:oban", "contender:graphile_worker")

    assert both.contender == registry.load("contender:oban").contender
    assert both.contender_of("new-worker") == registry.load("contender:graphile_worker").contender


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("oban_style_queue", "contender:oban", "import Celery, which the environment of contender:oban does not have"),
        ("contender:oban", "oban_style_queue", "import Celery, which the environment of contender:oban does not have"),
        ("contender:oban", "contender:procrastinate", "each is in an environment of its own"),
        ("contender:oban", "contender:oban:tuned", "are of one family"),
        ("contender:rq", "push_readmodel", "it has no way to move its pending notifications"),
    ],
)
def test_what_cannot_be_migrated_is_refused_with_the_reason(old: str, new: str, reason: str) -> None:
    with pytest.raises(BadUsage, match=reason):
        both_of(old, new)


def test_a_migration_to_a_library_that_is_not_installed_says_how_to_install_it(
    settings: Settings, tmp_path: Path
) -> None:
    done = duetime(
        "migrate",
        *("push_readmodel", "contender:oban"),
        **settings.environment(),
        XDG_CACHE_HOME=str(tmp_path),
    )

    assert done.returncode == 2
    assert f"run `{shell_command('contenders', 'install', 'oban')}`" in done.stderr


def test_a_worker_of_a_library_is_not_served_without_a_gateway(settings: Settings, tmp_path: Path) -> None:
    skip_unless_installed("procrastinate")
    done = duetime("serve", "contender:procrastinate", "--state", str(tmp_path), **settings.environment())

    assert done.returncode == 2
    assert "DUETIME_GATEWAY_URL is not set" in done.stderr


@pytest.mark.full
@pytest.mark.processes
@pytest.mark.parametrize(("name", "give_up"), [("contender:oban", DISCARD), ("contender:graphile_worker", EXHAUST)])
def test_a_migration_there_and_back_keeps_every_field(
    settings: Settings, engine: Engine, name: str, give_up: TextClause
) -> None:
    skip_unless_installed(name.partition(":")[2])
    both_of("push_readmodel", name).install(engine)
    sent = due_in(FAR_S, payload=PAYLOAD)
    schedule(read_model, settings, engine, sent, due_in(FAR_S, "b"))

    assert "2 moved" in migrate(settings, "push_readmodel", name)
    assert stored(engine) == []
    library = registry.load(name)
    assert sorted(pending.op for pending in library.pending(settings, engine)) == ["a/1", "b/1"]

    assert "2 moved" in migrate(settings, name, "push_readmodel")
    assert library.pending(settings, engine) == []
    assert stored(engine) == ["a/1", "b/1"]
    with engine.connect() as connection:
        row = connection.execute(text("SELECT * FROM pending_notifications WHERE key = 'a'")).one()
    assert Notification.from_store(row.key, row.revision, row.kind, row.recipient, row.due_at, row.payload) == sent

    assert "2 moved" in migrate(settings, "push_readmodel", name)
    with engine.begin() as connection:
        connection.execute(give_up)
    refused = duetime("migrate", name, "push_readmodel", **settings.environment())
    assert (refused.returncode, "which a migration does not move" in refused.stderr) == (2, True)


@pytest.mark.full
@pytest.mark.runs
@pytest.mark.parametrize("design", ["push_readmodel-to-contender:oban:tuned", "contender:oban:tuned-to-push_readmodel"])
def test_a_migration_under_load_misses_and_duplicates_nothing(design: str, tmp_path: Path) -> None:
    skip_unless_installed("oban")
    _, cells = compared("--designs", design, "--scenarios", "migration", "--seed", "12", out=tmp_path)

    cell = cells["migration", design]
    assert cell["counts"]["missed"] == cell["counts"]["duplicate"] == 0, cell["explanation"]
    assert cell["outcome"] != "unknown", cell["explanation"]
    workers = {record["worker"] for record in json_lines(Path(cell["run_dir"]) / "deliveries.jsonl")}
    assert {"old-worker-1", "new-worker-1"} <= workers


@pytest.mark.full
@pytest.mark.processes
def test_a_served_worker_of_a_library_has_its_environment(settings: Settings, engine: Engine, tmp_path: Path) -> None:
    skip_unless_installed("oban")
    del engine  # its tables are missing, so the worker says so and ends
    gateway = "http://127.0.0.1:9/deliver"
    done = duetime(
        "serve", "contender:oban", "--state", str(tmp_path), **settings.environment(), DUETIME_GATEWAY_URL=gateway
    )

    assert done.returncode != 0
    assert "The 'oban_jobs' is missing, run schema installation first." in done.stdout + done.stderr
