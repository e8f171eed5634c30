"""The objects and the defaults of the real libraries, each in the environment of its contender."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from duetime import contenders
from duetime.lint.libraries.catalogue import LIBRARIES
from tests.lint.library_rules import TUNED

pytestmark = [pytest.mark.processes, pytest.mark.contenders]
ENVIRONMENT = {"REDIS_URL": "redis://127.0.0.1:1/0", "DUETIME_DATABASE_DSN": "postgresql://127.0.0.1:1/x"}
"""Servers that refuse every connection, for modules that name one when they are imported."""

OBJECTS: list[tuple[str, str, str, list[str], set[str], set[str]]] = [
    # contender, its target, its settings that are wrong, those that are not known
    ("arq", "jobs.py:WorkerSettings", "", [], {"job_timeout", "raises_retry", "job_completion_wait"}, set()),
    ("arq", "tuned.py:WorkerSettings", "", [], set(), set()),
    ("saq", "jobs.py:settings", "", [], {"shutdown_grace_period_s"}, {"retries"}),
    ("saq", "tuned.py:settings", "", ["retries=20", "timeout=5"], set(), set()),
    (
        "saq_postgres",
        "jobs.py:settings",
        "",
        ["retries=1"],
        {"retries", "poll_interval", "shutdown_grace_period_s"},
        set(),
    ),
    ("saq_postgres", "tuned.py:settings", "", ["retries=20", "timeout=5"], set(), set()),
    ("dramatiq", "tasks.py", "", [], {"maintenance_chance", "abortable"}, set()),
    ("dramatiq", "tuned_tasks.py:broker", "", [], set(), set()),
    ("huey", "tasks.py:huey", "", [], {"retries"}, {"graceful_signal"}),
    ("huey", "tasks.py:huey", "huey_consumer tasks.huey", [], {"retries", "graceful_signal"}, set()),
    ("huey", "tuned_tasks.py:huey", "huey_consumer tuned_tasks.huey -w 4 -g TERM -t 20", [], set(), set()),
    (
        "procrastinate",
        "tasks.py:app",
        "procrastinate --app=tasks.app worker",
        [],
        {"fetch_job_polling_interval", "get_stalled_jobs", "retry"},
        set(),
    ),
    ("taskiq", "tasks.py:broker", "", [], {"idle_timeout", "retry_on_error"}, {"update_interval", "pre_send"}),
    ("taskiq", "tasks.py:scheduler", "taskiq scheduler", [], set(TUNED["taskiq"]), set()),
    ("taskiq", "tuned_tasks.py:scheduler", "taskiq scheduler --update-interval 1", [], set(), set()),
    ("procrastinate", "tuned_tasks.py:app", "", [], set(), {"fetch_job_polling_interval"}),
]
MADE_HERE = {
    "oban": (
        "from oban import Oban\nfrom psycopg_pool import AsyncConnectionPool\n"
        "pool = AsyncConnectionPool('', open=False)\n"
        "default = Oban(pool=pool)\n"
        "tuned = Oban(pool=pool, stager={'interval': 0.2}, lifeline={'interval': 1.0, 'rescue_after': 3.0})\n",
        {"stager_interval", "rescue_after"},
        set(),
    ),
    "rq": (
        "from redis import Redis\nfrom rq import Worker\n"
        "connection = Redis.from_url('redis://127.0.0.1:1/0')\n"
        "def worker(**options): return Worker(['a'], connection=connection, prepare_for_work=False, **options)\n"
        "default = worker()\ntuned = worker(worker_ttl=16, maintenance_interval=5)\n",
        {"maintenance_interval", "worker_ttl"},
        {"with_scheduler", "retry"},
    ),
    "pgqueuer": (
        "from datetime import timedelta\n"
        "from pgqueuer import DatabaseRetryEntrypointExecutor, PgQueuer, RetryRequested\n"
        "def retried(parameters): return DatabaseRetryEntrypointExecutor(parameters=parameters, max_attempts=20)\n"
        "async def deliver(job): pass\n"
        "default, tuned = PgQueuer.in_memory(), PgQueuer.in_memory()\n"
        "default.entrypoint('deliver')(deliver)\n"
        "tuned.entrypoint('deliver', executor_factory=retried, on_failure='hold')(deliver)\n"
        "async def asks(job): raise RetryRequested\n"
        "default.entrypoint('asks')(asks)\n"
        "tuned.entrypoint('asks')(asks)\n",
        {"on_failure"},
        {"heartbeat_timeout"},
    ),
}
"""Modules with an object of the library, where the contender has none: the settings that are wrong, and not known."""
DEFAULTS = {
    "arq": "import inspect\nfrom arq.worker import Worker\n"
    "found = {n: p.default for n, p in inspect.signature(Worker).parameters.items()}",
    "dramatiq": "from dramatiq.brokers.redis import DEFAULT_HEARTBEAT_TIMEOUT as h, DEFAULT_MAINTENANCE_CHANCE as c\n"
    "import inspect\nfrom dramatiq_abort import Abortable\n"
    "found = {'heartbeat_timeout': h, 'maintenance_chance': c,"
    " 'abort_ttl': inspect.signature(Abortable).parameters['abort_ttl'].default}",
    "huey": "from huey.consumer_options import config_defaults\nfound = dict(config_defaults)",
    "oban": "import inspect\nfrom oban._lifeline import Lifeline\nfrom oban._stager import Stager\n"
    "def of(kind, name): return inspect.signature(kind).parameters[name].default\n"
    "found = {'stager_interval': of(Stager, 'interval'), 'lifeline_interval': of(Lifeline, 'interval'),"
    " 'rescue_after': of(Lifeline, 'rescue_after')}",
    "pgqueuer": "import inspect\nfrom pgqueuer.core.applications import PgQueuer\n"
    "found = {n: p.default.total_seconds() for n, p in inspect.signature(PgQueuer.run).parameters.items()"
    " if n in ('dequeue_timeout', 'heartbeat_timeout')}\n"
    "found['on_failure'] = inspect.signature(PgQueuer.entrypoint).parameters['on_failure'].default",
    "procrastinate": "from procrastinate.worker import FETCH_JOB_POLLING_INTERVAL as p\n"
    "found = {'fetch_job_polling_interval': p}",
    "rq": "from rq import defaults as d\n"
    "found = {'maintenance_interval': d.DEFAULT_MAINTENANCE_TASK_INTERVAL, 'worker_ttl': d.DEFAULT_WORKER_TTL}",
    "taskiq": "import inspect\nfrom taskiq_redis import RedisStreamBroker\n"
    "found = {'idle_timeout': inspect.signature(RedisStreamBroker).parameters['idle_timeout'].default}",
    "saq": "import inspect\nfrom saq import Job, Worker\n"
    "found = {n: p.default for k in (Job, Worker) for n, p in inspect.signature(k).parameters.items()}\n"
    "found.pop('timers')",
}
"""Programs that give the defaults of the installed library as `found`."""


def python_of(name: str) -> str:
    if reason := contenders.missing(name):
        pytest.skip(reason)
    return str(contenders.cache(name) / "venv" / "bin" / "python")


def judged(target: str, python: str, *arguments: str) -> tuple[set[str], set[str]]:
    """Return the settings that are wrong, and those that are not known."""
    command = [sys.executable, "-m", "duetime.cli", "lint", target, "--python", python, "--json", *arguments]
    environment = {**os.environ, **ENVIRONMENT, "PYTHONWARNINGS": "error"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)["findings"]
    unknown = {name for f in found if f["level"] == "not judged" for name in f["setting"].split(", ")} - {"none"}
    return {f["setting"] for f in found if f["level"] != "not judged"}, unknown


@pytest.mark.parametrize(("name", "target", "worker", "given", "wrong", "unknown"), OBJECTS)
def test_the_objects_of_a_contender_are_judged_without_a_server(
    name: str, target: str, worker: str, given: list[str], wrong: set[str], unknown: set[str]
) -> None:
    library = name.partition("_")[0]
    options = [f"--set={value}" for value in given] + ([f"--worker={worker}"] if worker else [])

    assert judged(f"{library}:{contenders.folder(name)}/{target}", python_of(name), *options) == (wrong, unknown)


@pytest.mark.parametrize(("name", "made"), MADE_HERE.items(), ids=MADE_HERE)
def test_other_objects_are_judged_without_a_server(
    tmp_path: Path, name: str, made: tuple[str, set[str], set[str]]
) -> None:
    program, wrong, unknown = made
    (tmp_path / "made.py").write_text(program)

    assert judged(f"{name}:{tmp_path}/made.py:default", python_of(name)) == (wrong, unknown)
    assert judged(f"{name}:{tmp_path}/made.py:tuned", python_of(name)) == (set(), unknown)


def test_the_options_of_tuned_contenders_are_those_of_the_rules() -> None:
    assert TUNED["oban"]["rescue_after"] == 3.0
    values = LIBRARIES["oban"].parse((contenders.folder("oban") / "tuned.toml").read_text()).values  # type: ignore[misc]
    assert values == TUNED["oban"]


@pytest.mark.parametrize(("name", "program"), DEFAULTS.items(), ids=DEFAULTS)
def test_the_defaults_are_those_of_the_installed_library(name: str, program: str) -> None:
    code = f"{program}\nimport json\nprint(json.dumps(found, default=repr))"
    done = subprocess.run([python_of(name), "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    installed: dict[str, Any] = json.loads(done.stdout)

    same = {setting.name: setting.default for setting in LIBRARIES[name].settings if setting.name in installed}
    assert same == {setting: installed[setting] for setting in same}
    assert same


def places() -> Iterator[tuple[str, str]]:
    for name, library in LIBRARIES.items():
        yield from ((name, rule.see) for rule in library.rules if not rule.see.startswith("https://"))


@pytest.mark.parametrize(("name", "see"), list(places()))
def test_a_place_in_the_source_exists(name: str, see: str) -> None:
    if reason := contenders.missing(name):
        pytest.skip(reason)
    file, _, line = see.rpartition(":")
    roots = [
        *contenders.cache(name).glob("venv/lib/python3*/site-packages"),
        contenders.cache(name) / "node_modules/bullmq",
    ]
    roots += [Path("/usr/share/rubygems-integration/all/gems/sidekiq-6.4.1/lib"), Path("/usr/lib/ruby/vendor_ruby")]
    found = [root / file for root in roots if (root / file).exists()]

    assert found, f"{file} is in none of {roots}"
    assert len(found[0].read_text().splitlines()) >= int(line)
