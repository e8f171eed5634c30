"""Celery applications for the tests of the rules."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from celery import Celery

from duetime.lint.case import Target
from duetime.lint.commands import parse
from duetime.lint.finding import Finding
from duetime.lint.rules import lint

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TIMEOUT = "broker_transport_options['visibility_timeout']"
GOOD_COMMAND = "celery -A shop worker -c 4 --statedb=/var/lib/shop/%n.state"
APP_FILE = """
from celery import Celery

app = Celery("shop", broker="redis://localhost/1")


@app.task(name="shop.charge", shared=False)
def charge():
    pass
"""


def good_app(**changes: Any) -> Celery:
    """Return an application without warnings at a horizon of an hour and a lateness of a day, except for `changes`."""
    app = Celery("shop", broker="redis://localhost:6379/0", set_as_current=False)
    app.conf.update(
        broker_transport_options={"visibility_timeout": 7200},
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        beat_schedule={"sweep": {"task": "shop.charge", "schedule": 60.0, "options": {"expires": 60}}},
    )
    app.conf.update(changes)

    @app.task(name="shop.charge", shared=False, autoretry_for=(OSError,))
    def charge() -> None: ...

    return app


def do_nothing() -> None:
    """A task without options of its own."""


def findings(
    app: Celery,
    *commands: str,
    horizon: timedelta = HOUR,
    lateness: timedelta = DAY,
    **more: Any,
) -> list[Finding]:
    target = Target(name="shop:app", app=app, commands=[parse(line) for line in commands or [GOOD_COMMAND]])
    return lint([target], horizon=horizon, lateness=lateness, **more)


def warnings(*args: Any, **options: Any) -> list[tuple[str, str | None]]:
    """Return the setting and the scenario of each warning."""
    return [(f.setting, f.scenario) for f in findings(*args, **options) if f.level == "warning"]
