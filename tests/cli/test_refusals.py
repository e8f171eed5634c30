"""What a database refuses is one sentence; whether the design was installed is asked only where a table is missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, make_url, text

from duetime import registry
from duetime.cli.main import cli
from duetime.errors import BadUsage
from duetime.harness.processes.embedded_servers import free_port
from duetime.settings import Settings
from duetime.shell_command import shell_command

COMMANDS = (["status", "push_readmodel"], ["failed", "list", "push_readmodel"])


def refusals(settings: Settings, **url: str | int) -> Iterator[str]:
    changed = make_url(settings.database_url).set(**url)  # type: ignore[arg-type]  # names of fields of a URL
    there = replace(settings, design="push_readmodel", database_url=changed.render_as_string(hide_password=False))
    for command in COMMANDS:
        done = CliRunner().invoke(cli, command, env=there.environment(), standalone_mode=False)
        assert isinstance(done.exception, BadUsage), repr(done.exception)
        yield str(done.exception)


def test_a_server_a_database_or_a_role_that_is_wrong_is_named(settings: Settings, engine: Engine) -> None:
    registry.load("push_readmodel").install(engine)
    role = f"{engine.url.database}_reader"
    with engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {role} LOGIN"))
    try:
        wrong: list[tuple[dict[str, str | int], str]] = [
            ({"database": "absent"}, 'database "absent" does not exist'),
            ({"username": "absent"}, 'role "absent" does not exist'),
            ({"username": role}, "permission denied for table"),
        ]
        for url, sentence in wrong:
            for message in refusals(settings, **url):
                assert sentence in message and "was it installed" not in message
    finally:
        with engine.begin() as connection:
            connection.execute(text(f"DROP ROLE {role}"))


def test_a_server_that_is_away_is_not_called_uninstalled(settings: Settings) -> None:
    away = replace(settings, database_url=f"postgresql+psycopg://postgres@127.0.0.1:{free_port()}/x")

    for message in refusals(away):
        assert "Connection refused" in message and "was it installed" not in message


@pytest.mark.usefixtures("engine")
def test_a_table_that_is_missing_was_perhaps_not_installed(settings: Settings) -> None:
    for message in refusals(settings):
        assert message.endswith(f"was it installed ({shell_command('install', 'push_readmodel')})?")
