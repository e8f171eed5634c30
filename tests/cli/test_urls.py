"""A wrong URL is named by its variable and its scheme, and never printed: it may hold a password."""

from __future__ import annotations

import pytest

from duetime.errors import BadUsage
from duetime.urls import libpq_url, redis_url, sqlalchemy_url
from tests.commands import duetime


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p%40ss@h:5432/n",
        "postgres://h/n",
        "postgresql+psycopg://h/n",
        "postgresql://u@/n?host=%2Frun%2Fpg",
        "postgresql://u@/n?host=a:1&host=b:2&target_session_attrs=read-write",
    ],
)
def test_every_spelling_of_postgresql_gets_our_driver(url: str) -> None:
    assert sqlalchemy_url(url) == f"postgresql+psycopg://{url.partition('://')[2]}"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql+psycopg://u@h:5432/n", "postgresql://u@h:5432/n"),
        ("postgresql+psycopg://u@/n?host=%2Frun%2Fpg", "postgresql://u@/n?host=%2Frun%2Fpg"),
        ("postgresql+psycopg://u@/n?host=a:1&host=b:2&x=y", "postgresql://u@a:1,b:2/n?x=y"),
    ],
)
def test_libpq_gets_a_url_of_the_same_servers(url: str, expected: str) -> None:
    assert libpq_url(url) == expected


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://u:secret@h/n", "begins with mysql://, and duetime needs PostgreSQL"),
        ("sqlite:///x", "duetime needs PostgreSQL"),
        ("postgresql+asyncpg://u:secret@h/n", "driver of its own, psycopg"),
        ("postgresql+psycopg2://u:secret@h/n", "driver of its own, psycopg"),
        ("redis://u:secret@h/0", "duetime needs PostgreSQL"),
        ("host=h password=secret", "is no URL"),
        ("postgresql://u:secret@h:port/n", "cannot be parsed"),
    ],
)
def test_another_database_is_refused_by_its_scheme(url: str, message: str) -> None:
    with pytest.raises(BadUsage, match="postgresql://user@host:5432/name") as caught:
        sqlalchemy_url(url)

    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("valkey://u:secret@h/0", "Valkey is reached as redis://"),
        ("amqp://u:secret@h//", "needs Redis or Valkey by TCP"),
        ("redis+socket:///secret", "needs Redis or Valkey by TCP"),
        ("sqs://secret@", "needs Redis or Valkey by TCP"),
        ("h:6379", "is no URL"),
    ],
)
def test_another_broker_is_refused_by_its_scheme(url: str, message: str) -> None:
    with pytest.raises(BadUsage, match="redis://host:6379/0") as caught:
        redis_url(url)

    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.processes
@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (("install", "push_readmodel"), {"DUETIME_DATABASE_URL": "mysql://root:secret@db/x"}),
        (("run", "push_readmodel", "calm"), {"DUETIME_DATABASE_URL": "mysql://root:secret@db/x"}),
        (("run", "push_readmodel", "calm"), {"DUETIME_BROKER_URL": "amqp://root:secret@db/x"}),
        (
            ("status", "push_readmodel"),
            {"DUETIME_DATABASE_URL": "mysql://root:secret@db/x", "DUETIME_BROKER_URL": "redis://h"},
        ),
        (
            ("status", "oban_style_queue"),
            {"DUETIME_DATABASE_URL": "postgresql://h/x", "DUETIME_BROKER_URL": "amqp://root:secret@db/x"},
        ),
    ],
)
def test_a_command_names_the_variable_and_what_to_write(
    arguments: tuple[str, ...], environment: dict[str, str]
) -> None:
    done = duetime(*arguments, **environment)

    assert done.returncode == 2, done.stderr
    assert " begins with " in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr
