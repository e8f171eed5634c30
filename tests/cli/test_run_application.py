"""``duetime run celery:APP``: which settings of an application it takes, and what a run with them shows."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from duetime.errors import BadUsage
from duetime.lint.request import ask
from tests.commands import duetime
from tests.short_plan import written_to

PROJECT = """
from celery import Celery

app = Celery("shop", broker="{broker}")
app.conf.update(
    broker_transport_options={{"visibility_timeout": 5, "unacked_restore_interval": 1, "unacked_restore_throttle": 1,
                              "global_keyprefix": "mine"}},
    task_routes={{"a": {{"queue": "b"}}}},
    worker_prefetch_multiplier=1,
)


@app.task(name="shop.remind", acks_late=True, reject_on_worker_lost=True)
def remind():
    raise SystemExit("a task of the application was executed")
"""
REDIS = "redis://:secret@localhost:1/0"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that runs `duetime run` in the directory of a project."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.py").write_text(PROJECT.format(broker=REDIS))
    return lambda *arguments, **environment: duetime("run", *arguments, **environment)


def taken(stderr: str) -> str:
    return next(line for line in stderr.splitlines() if line.startswith("  taken: "))


@pytest.mark.processes
def test_a_run_takes_the_settings_that_decide_about_delivery_and_nothing_else(run: Any, tmp_path: Path) -> None:
    command = "celery -A shop worker -c 3 -Q reminders"
    done = run(
        "celery:shop:app",
        str(written_to(tmp_path / "short.json")),
        "--json",
        "--worker",
        command,
        REMAP_SIGTERM="SIGQUIT",
    )
    [cell] = json.loads(done.stdout)["cells"]

    assert (done.returncode, cell["outcome"], cell["design"]) == (0, "pass", "celery:shop:app"), done.stderr
    assert taken(done.stderr) == (
        "  taken: worker_prefetch_multiplier = 1, broker_transport_options = {'visibility_timeout': 5, "
        "'unacked_restore_interval': 1, 'unacked_restore_throttle': 1}, --concurrency=3, REMAP_SIGTERM=SIGQUIT"
    )
    left_out = "broker_url, task_routes, broker_transport_options['global_keyprefix'], --queues"
    assert f"left out, because a run has its own servers, queues and task: {left_out}\n" in done.stderr
    assert "not taken without --task NAME: options of shop.remind (acks_late, reject_on_worker_lost)" in done.stderr
    assert "secret" not in done.stderr


DJANGO = """
from celery import Celery

class settings:
    SECRET_KEY = "secret"
    CELERY_BROKER_URL = "redis://localhost:1"
    CELERY_TASK_ACKS_LATE = True
    CELERY_WORKER_CONCURRENCY = 8
    CELERY_WORKER_STATE_DB = "revokes"
    CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": object()}

app = Celery("shop")
app.config_from_object(settings, namespace="CELERY")


@app.task(name="remind", acks_late=True, autoretry_for=(OSError,))
def remind():
    pass
"""
OLD_NAMES = """
from celery import Celery

app = Celery("shop")
app.conf.update(BROKER_URL="redis://localhost:1", CELERY_ACKS_LATE=True, CELERYD_CONCURRENCY=8)
"""


def copied(tmp_path: Path, text: str, *, worker: str | None = None) -> dict[str, Any]:
    """What `ask` returns about an application, read in an interpreter of its own."""
    (tmp_path / "own_app.py").write_text(text)
    target = str(tmp_path / "own_app.py") + ":app"
    return ask({"python": sys.executable, "targets": [target], "copy": True, "worker": worker, "task": None})


@pytest.mark.parametrize("text", [DJANGO, OLD_NAMES])
def test_settings_are_taken_whatever_their_names_in_the_project_are(tmp_path: Path, text: str) -> None:
    found = copied(tmp_path, text)

    assert found["settings"] == {"task_acks_late": True, "worker_concurrency": 8}
    assert found["arguments"][0] == "--concurrency=8"
    assert "SECRET_KEY" not in str(found)


def test_what_cannot_be_copied_is_told_from_what_a_run_has_of_its_own(tmp_path: Path) -> None:
    found = copied(tmp_path, DJANGO)

    assert found["not_copied"] == ["broker_transport_options['visibility_timeout']"]
    assert found["left_out"] == ["broker_url", "retries of remind"]
    assert found["tasks"] == []
    assert found["arguments"] == ["--concurrency=8", "--statedb={state}/revokes"]


def test_everything_that_the_command_of_a_worker_says_counts(tmp_path: Path) -> None:
    command = "env REMAP_SIGTERM=SIGQUIT celery -A shop -b redis://elsewhere worker -P threads --autoscale=8,2 -O fair"
    found = copied(tmp_path, OLD_NAMES.replace("BROKER_URL", "unused"), worker=command)

    assert found["arguments"] == ["--pool=threads", "--autoscale=8,2", "--optimization=fair"]
    assert found["environment"] == {"REMAP_SIGTERM": "SIGQUIT"}
    with pytest.raises(BadUsage, match="its broker is amqp"):
        copied(tmp_path, OLD_NAMES, worker="celery -A shop --broker=amqp://elsewhere worker")


def test_a_pool_of_the_project_is_not_imported_by_a_run(tmp_path: Path) -> None:
    found = copied(tmp_path, OLD_NAMES + "app.conf.CELERYD_POOL = 'shop.pool:Pool'", worker="celery worker -P shop:P")

    assert found["not_copied"] == ["worker_pool", "--pool=shop:P"]
    assert "shop" not in str([found["settings"], found["arguments"]])


@pytest.mark.processes
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["celery:"], "names no application"),
        (["celery:absent:app"], "absent cannot be imported"),
        (["celery:shop:app", "--task", "x"], "no such task; it has shop.remind"),
        (["celery:shop:app", "--worker", "celery -A shop beat"], "starts no worker"),
        (["push_readmodel", "--worker", "celery worker"], "is for celery:APP"),
        (["celery:rabbit:app"], "its broker is amqp"),
        (["celery:shop:app", "--worker", "celery -A shop worker -P gevent"], "which duetime's environment lacks"),
    ],
)
def test_what_cannot_be_run_is_refused_and_nothing_is_written(
    run: Any, tmp_path: Path, arguments: list[str], says: str
) -> None:
    (tmp_path / "rabbit.py").write_text(PROJECT.format(broker="amqp://localhost"))
    done = run(arguments[0], "crash", *arguments[1:])

    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.runs
@pytest.mark.full
def test_a_crash_loses_with_the_settings_and_not_with_those_of_a_task_that_acknowledges_late(
    run: Any, tmp_path: Path
) -> None:
    (tmp_path / "plain.py").write_text('from celery import Celery\napp = Celery(broker="redis://localhost:1")\n')
    loses = run("celery:plain:app", "crash")
    repeats = run("celery:shop:app", "crash", "--task", "shop.remind", "--fail-on", "missed")

    assert loses.returncode == 1, loses.stdout
    assert "; fails\n" in loses.stdout and "setting: visibility_timeout" in loses.stdout
    assert repeats.returncode == 0, repeats.stdout
    assert len(list((tmp_path / "runs" / "applications").iterdir())) == 2
