"""`duetime lint LIBRARY`: targets, --worker, --set, files, output and wrong arguments."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from duetime.errors import BadUsage
from duetime.lint.libraries.catalogue import LIBRARIES
from duetime.lint.libraries.given import given, of_command
from duetime.lint.libraries.load import read_file

pytestmark = pytest.mark.processes
JOBS = """
import os
from datetime import timedelta

print("imported")


class Retry(Exception):
    pass


async def deliver(ctx, key):
    try:
        await ctx["send"](key)
    except OSError as error:
        raise Retry from error


async def charge(ctx, key):
    await ctx["send"](key)


async def retries_through_another(ctx, key):
    await deliver(ctx, key)


class Base:
    job_completion_wait = 5


class WorkerSettings(Base):
    functions = (deliver, charge, retries_through_another)
    job_timeout = timedelta(seconds=5)


class RedisQueue:
    pass


settings = {"queue": RedisQueue(), "functions": [charge], "timers": {"sweep": 10}, "shutdown_grace_period_s": 2}
"""

OBJECTS = """
class Worker:
    maintenance_interval, worker_ttl = 5, 16

class Broker:
    idle_timeout, middlewares = 3000, ()
    def get_all_tasks(self):
        return {}

rq, taskiq = Worker(), Broker()
"""

BROKEN = {
    "unset.py": "import os\nsettings = {'queue': os.environ['SHOP_REDIS']}\n",
    "exits.py": "raise SystemExit('no licence')\n",
    "lazy.py": (
        "def __getattr__(name):\n    if name == 'settings':\n        raise RuntimeError('no settings yet')\n"
        "    raise AttributeError(name)\n"
        "class Jobs:\n    @property\n    def settings(self):\n        raise RuntimeError('not connected')\n"
        "jobs = Jobs()\n"
    ),
    "needs_arq.py": "import arq\n",
}
"""Modules whose import, or whose object, raises an error."""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "jobs.py").write_text(JOBS)
    (tmp_path / "oban.toml").write_text("[stager]\ninterval = 0.2\n\n[lifeline]\nrescue_after = 20.0\n")
    (tmp_path / "sidekiq.yml").write_text(
        ":concurrency: 5\n:poll_interval_average: 0.5  # seconds\n:queues:\n  - default\nproduction:\n  :timeout: 8\n"
    )
    return tmp_path


def lint(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "duetime.cli", "lint", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=project, env={**os.environ})


def warnings(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    found = json.loads(done.stdout)["findings"]
    return {finding["setting"]: finding["value"] for finding in found if finding["level"] == "warning"}


@pytest.mark.parametrize(
    "target", ["arq:shop.jobs.WorkerSettings", "arq:shop.jobs:WorkerSettings", "arq:shop/jobs.py:WorkerSettings"]
)
def test_the_settings_of_arq_are_read_as_arq_reads_them(project: Path, target: str) -> None:
    done = lint(project, target, "--json")

    # It ignores what the class inherits.
    assert warnings(done) == {"raises_retry": "False", "job_completion_wait": "0"}
    assert "charge: neither the function nor one that it calls by its name uses Retry." in done.stdout
    assert (done.returncode, done.stderr) == (1, "imported\n")


def test_a_setting_of_a_call_is_judged_only_if_it_is_given(project: Path) -> None:
    silent = lint(project, "saq:shop.jobs.settings")

    assert silent.returncode == 0
    assert silent.stdout.startswith("saq:shop.jobs.settings: no warnings; read what is not judged\n")
    assert "not known here: retries (of a job, the number of its attempts)" in silent.stdout
    assert warnings(lint(project, "saq:shop.jobs.settings", "--set", "retries=1", "--json")) == {"retries": "1"}
    slow = lint(project, "saq:shop.jobs.settings", "--set", "retries=2", "--set", "timeout=99", "--json")
    assert warnings(slow) == {"sweep": "10"}


def test_a_configuration_file_is_read_and_what_it_leaves_out_has_its_default_or_is_not_known(project: Path) -> None:
    assert warnings(lint(project, "oban:oban.toml", "--json")) == {"rescue_after": "20.0"}  # and 60 s between checks
    assert read_file(LIBRARIES["sidekiq"], f"sidekiq:{project}/sidekiq.yml").values == {"poll_interval_average": 0.5}


def test_another_version_of_the_project_is_named(project: Path) -> None:
    (project / "arq-0.9.dist-info").mkdir()
    (project / "arq-0.9.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: arq\nVersion: 0.9\n")

    out = " ".join(lint(project, "arq:shop.jobs.WorkerSettings").stdout.split())

    assert " The rules are about version 0.28.0, and the project has 0.9. No setting of arq 0.28.0 changes" in out


def test_the_output_names_the_default_the_run_and_the_source(project: Path) -> None:
    out = lint(project, "rq", "--worker", "rq worker -s", "--set", "retry=3").stdout

    assert out.startswith("rq: 2 warnings\n\n  warning: maintenance_interval = 600 (RQ's default)\n    then   if the")
    assert "duetime run contender:rq downtime --seed 1\n    see    rq/worker/base.py:1073\n" in out
    assert "\n  No setting of RQ 3.0.0 changes this: due times are cut to whole seconds" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rq", "--set", "retri=3"], "no judged setting of RQ named 'retri'; known: maintenance_interval, retry"),
        (["rq", "--set", "retri=3"], "Did you mean 'retry'?"),
        (["rq", "--set", "retry"], "--set 'retry': write NAME=VALUE"),
        (["rq", "--set", "retry=many"], "retry is a number, not 'many'"),
        (["rq", "--set", f"retry={'9' * 400}"], "retry is a number, not '999"),
        (["rq", "--set", "retry=-inf"], "retry is a number, not '-inf'"),
        (["huey", "--worker", "huey_consumer shop.huey -g"], "graceful_signal is a name, not ''"),
        (["huey", "--set", "graceful_signal="], "graceful_signal is a name, not ''"),
        (["rq", "--set", "worker_ttl=nan"], "worker_ttl is a number of seconds, not 'nan'"),
        (["rq", "--set", "with_scheduler=1"], "with_scheduler is true or false, not '1'"),
        (["huey", "--set", "shutdown_timeout=soon"], "shutdown_timeout is a number of seconds or none, not 'soon'"),
        (["dramatik:shop.jobs"], "there is no module dramatik in"),
        (["dramatik:shop.jobs"], "Did you mean the library 'dramatiq'?"),
        (["rq", "--worker", "arq shop.jobs"], "does not start RQ; write for instance 'rq worker --with-scheduler"),
        (["rq", "--worker", "rq 'worker"], "quote it for a shell"),
        (["arq", "--worker", "arq shop.jobs"], "no setting of arq is in a command; write --set NAME=VALUE"),
        (["rq", "--servers", "3"], "--servers has no effect on RQ; leave it out"),
        (["shop", "--set", "a=b"], "--set has no effect on Celery; leave it out"),
        (["rq", "saq"], "write one target if it begins with the name of a library"),
        (["rq", "--lateness", "soon"], "--lateness 'soon': write a number and a unit"),
        (["arq:shop.jobs"], "'arq:shop.jobs' is a module; write the settings of a worker, for instance arq:shop.jobs."),
        (["arq:shop.jobs:Settings"], "shop.jobs has no 'Settings'"),
        (["arq:shop jobs"], "is not the name of a module; write module:object or file.py:object"),
        (["arq:nothing:here"], "'arq:nothing:here': nothing cannot be imported: ModuleNotFoundError"),
        (["arq:nothing:here"], "there is no module nothing in"),
        (["arq:nothing"], "'arq:nothing': nothing cannot be imported"),
        (["arq:nothing.here.settings"], "there is no module nothing in"),
        (["arq:unset.settings"], "it is an environment variable: set SHOP_REDIS for this command as for a worker"),
        (["arq:unset:settings"], "it is an environment variable: set SHOP_REDIS for this command as for a worker"),
        (["arq:exits.settings"], "'arq:exits.settings': exits.settings cannot be imported: SystemExit: no licence"),
        (["arq:lazy.settings"], "'arq:lazy.settings': settings cannot be read: RuntimeError: no settings yet"),
        (["arq:lazy.py:settings"], "'arq:lazy.py:settings': settings cannot be read: RuntimeError: no settings yet"),
        (["arq:lazy:jobs.settings"], "jobs.settings cannot be read: RuntimeError: not connected"),
        (["lazy.py:settings"], "'lazy.py:settings': settings cannot be read: RuntimeError: no settings yet"),
        (["arq:needs_arq.py:settings"], "if arq is installed for the project, run the linter in the project's own"),
        (["arq:needs_arq:settings"], "if arq is installed for the project, run the linter in the project's own"),
        (["arq:needs_arq.settings"], "if arq is installed for the project, run the linter in the project's own"),
        (["rq:"], "'rq:': nothing follows the last colon; write rq:MODULE:OBJECT, or rq alone for its defaults"),
        (["bullmq:"], "nothing follows the last colon"),
        (["arq:shop.jobs:"], "'arq:shop.jobs:': nothing follows the last colon"),
        (["bullmq:queue.js"], "BullMQ has no object to read; write bullmq, and --set NAME=VALUE"),
        (["oban:no.toml"], "'no.toml' cannot be read"),
        (["oban:shop/jobs.toml"], "'shop/jobs.toml' is not in the form of such a file"),
    ],
)
def test_bad_usage_exits_2_with_one_sentence(project: Path, arguments: list[str], message: str) -> None:
    (project / "shop" / "jobs.toml").write_text("[stager\n")
    for name, text in BROKEN.items():
        (project / name).write_text(text)

    done = lint(project, *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.splitlines()[-1].startswith("duetime: ")


def test_the_help_names_every_library_and_celery_may_stand_before_its_target(project: Path) -> None:
    printed = " ".join(lint(project, "--help").stdout.split())

    assert f"its defaults: {', '.join(sorted(LIBRARIES))}. " in printed
    (project / "tasks.py").write_text("from celery import Celery\n\napp = Celery('shop', broker='memory://')\n")
    assert lint(project, "celery:tasks:app", "--json").stdout == lint(project, "tasks:app", "--json").stdout


@pytest.mark.parametrize(
    ("name", "line", "values"),
    [
        ("huey", "huey_consumer shop.huey -gTERM -t 20", {"graceful_signal": "TERM", "shutdown_timeout": 20}),
        ("huey", "python -m huey.bin.huey_consumer shop.huey --shutdown-timeout=2.5", {"shutdown_timeout": 2.5}),
        ("rq", "/venv/bin/rq worker -s high low", {"with_scheduler": True}),
        ("rq", "rq worker-pool -n 4", {"with_scheduler": True}),
        ("procrastinate", "procrastinate -a shop worker -p 9 -p 1", {"fetch_job_polling_interval": 1}),
        ("pgqueuer", "python -m pgqueuer run shop:main --dequeue-timeout=1", {"dequeue_timeout": 1}),
        ("sidekiq", "bundle exec sidekiq -t 25", {"timeout": 25}),
        ("rq", "python -m rq.cli worker -vs", {"with_scheduler": True}),
        ("rq", "rq worker -uredis://cache -n worker-s", {}),
        ("rq", "timeout -s TERM 60 rq worker", {}),
        ("huey", "huey_consumer.py shop.huey -vgTERM", {"graceful_signal": "TERM"}),
    ],
)
def test_the_options_of_a_command_are_read(name: str, line: str, values: dict[str, object]) -> None:
    assert of_command(LIBRARIES[name], line).given == values


@pytest.mark.parametrize(
    ("name", "line", "values"),
    [
        ("taskiq", "taskiq worker shop:broker", {}),
        ("taskiq", "taskiq scheduler shop:scheduler", {"update_interval": 60}),
        ("procrastinate", "procrastinate schema --apply", {}),
        ("pgqueuer", "pgq dashboard", {}),
        ("sidekiq", "sidekiq -r ./worker.rb", {"timeout": 25}),
    ],
)
def test_an_option_has_its_default_only_in_a_command_that_can_have_it(
    name: str, line: str, values: dict[str, object]
) -> None:
    assert of_command(LIBRARIES[name], line).left_out == values


@pytest.mark.parametrize("line", ["/srv/rq/bin/celery -A shop worker", "celery -A shop.rq worker", "/srv/rq/worker"])
def test_a_command_is_that_of_a_library_by_its_program_or_its_module(line: str) -> None:
    with pytest.raises(BadUsage, match="does not start RQ"):
        of_command(LIBRARIES["rq"], line)


@pytest.mark.parametrize(
    ("name", "lines", "found"),
    [
        ("rq", ["rq worker -s --worker-ttl 700", "rq worker --worker-ttl 16"], {("worker_ttl", "700")}),
        ("rq", ["rq worker --worker-ttl 16", "rq worker -s --worker-ttl 16"], set()),
        ("rq", ["rq worker --worker-ttl 16"] * 2, {("with_scheduler", "False")}),
        ("taskiq", ["taskiq worker shop:broker"], set()),
        ("taskiq", ["taskiq scheduler shop:scheduler", "taskiq worker shop:broker"], {("update_interval", "60")}),
    ],
)
def test_each_command_is_judged(project: Path, name: str, lines: list[str], found: set[tuple[str, str]]) -> None:
    (project / "objects.py").write_text(OBJECTS)
    quiet = ["--set", "retry=3"] if name == "rq" else []
    commands = [argument for line in lines for argument in ("--worker", line)]

    done = lint(project, f"{name}:objects:{name}", *commands, *quiet, "--json")

    judged = [(finding["setting"], finding["value"]) for finding in json.loads(done.stdout)["findings"]]
    assert sorted(judged[:-1]) == sorted(found)
    assert ("update_interval" in judged[-1][0]) == (lines == ["taskiq worker shop:broker"])


def test_a_given_value_may_be_none_or_true() -> None:
    assert given(LIBRARIES["huey"], ["shutdown_timeout=none", "handles_interrupted=TRUE", "retries=2"]) == {
        "shutdown_timeout": None,
        "handles_interrupted": True,
        "retries": 2,
    }
