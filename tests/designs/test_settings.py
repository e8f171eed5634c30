"""Settings are passed through environment variables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from duetime.errors import BadUsage
from duetime.settings import Settings

NEEDED = {
    "DUETIME_DESIGN": "push_readmodel",
    "DUETIME_DATABASE_URL": "postgresql://localhost/x",
    "DUETIME_BROKER_URL": "redis://localhost/0",
}


def test_settings_are_the_same_after_the_environment() -> None:
    settings = Settings.from_environment(NEEDED)
    other = replace(
        settings,
        watched=True,
        heartbeat=Path("/tmp/heartbeat"),
        worker="worker-7",
        direct_database_url="postgresql+psycopg://db/x",
        broker_primary="mymaster",
    )

    assert Settings.from_environment(settings.environment()) == settings
    assert Settings.from_environment(other.environment()) == other


def test_workers_send_no_celery_events_by_default() -> None:
    unwatched = Settings.from_environment(NEEDED)
    watched = Settings.from_environment({**NEEDED, "DUETIME_WATCHED": "1"})

    assert unwatched.celery_events == {}
    assert watched.celery_events == {
        "worker_send_task_events": True,
        "task_send_sent_event": True,
        "task_track_started": True,
    }


def test_a_flag_that_is_neither_yes_nor_no_is_refused() -> None:
    with pytest.raises(BadUsage, match="DUETIME_WATCHED is 'maybe'; write yes or no"):
        Settings.from_environment({**NEEDED, "DUETIME_WATCHED": "maybe"})


@pytest.mark.parametrize("url", ["host=db password=secret", "mysql://user:secret@db/x"])
def test_a_direct_url_that_is_not_postgresqls_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(BadUsage, match="write postgresql://user@host:5432/name") as refused:
        Settings.from_environment({**NEEDED, "DUETIME_DIRECT_DATABASE_URL": url})

    assert "secret" not in str(refused.value)
