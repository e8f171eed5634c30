"""The environment that duetime composes for the processes of a run."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from duetime.errors import BadUsage
from duetime.harness.processes.environment import (
    OBEYED,
    composed,
    composed_for_design,
    other_servers_hidden,
    own_environment,
)
from duetime.harness.processes.worker_process import WorkerProcess
from duetime.interface import Role
from duetime.settings import Settings
from push_readmodel import drain_settings
from tests.eventually import assert_eventually

MACHINE = {"PATH": "/bin", "HOME": "/home/me", "TMPDIR": "/var/tmp"}
FIXED = {"TZ": "UTC", "LC_ALL": "C.UTF-8"}
FOREIGN = {
    "CELERY_BROKER_URL": "redis://elsewhere",
    "BROKER_URL": "redis://elsewhere",
    "PGHOSTADDR": "192.0.2.1",
    "PGOPTIONS": "-c statement_timeout=1",
    "FLOWER_BASIC_AUTH": "a:b",
    "PYTHONOPTIMIZE": "2",
    "TZ": "Asia/Kathmandu",
    "LC_ALL": "tr_TR.UTF-8",
    "http_proxy": "http://127.0.0.1:9",
    "LD_PRELOAD": "other.so",
    "DUETIME_FAILPOINTS": "/failpoints",
    "DUETIME_DIRECT_DATABASE_URL": "postgresql://elsewhere",
    "DUETIME_METRICS_PORT": "9464",
}


def test_only_what_describes_the_machine_is_kept() -> None:
    assert composed({**MACHINE, **FOREIGN, "PYTHONPATH": "/lib"}) == {**MACHINE, **FIXED}
    assert composed_for_design({**MACHINE, **FOREIGN}) == {**MACHINE, **FIXED}


def test_the_directories_of_pythonpath_are_absolute_in_a_designs_process() -> None:
    found = composed_for_design({"PYTHONPATH": "lib::/opt/lib"})

    assert found["PYTHONPATH"].split(":") == [str(Path("lib").absolute()), str(Path.cwd()), "/opt/lib"]


def test_variables_named_in_duetime_pass_environment_are_kept() -> None:
    caller = {
        "TOKEN": "secret",
        "LD_PRELOAD": "mine.so",
        "OTHER": "x",
        "DUETIME_PASS_ENVIRONMENT": "TOKEN, LD_PRELOAD,",
    }

    assert composed_for_design(caller) == {**FIXED, "TOKEN": "secret", "LD_PRELOAD": "mine.so"}
    assert composed(caller) == FIXED


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("TOKEN OTHER", "'TOKEN OTHER' is not the name of a variable; write names separated by commas"),
        ("TOKN", "TOKN is not set; export it, or remove it"),
        ("TOKEN,PGHOST", "cannot pass on PGHOST.*DUETIME_DATABASE_URL"),
        ("CELERY_BROKER_URL", "cannot pass on CELERY_BROKER_URL"),
        ("DUETIME_TEMPDIR", "cannot pass on DUETIME_TEMPDIR"),
    ],
)
def test_a_name_that_cannot_be_passed_is_refused(names: str, message: str) -> None:
    caller = {"TOKEN": "x", "PGHOST": "x", "CELERY_BROKER_URL": "x", "DUETIME_PASS_ENVIRONMENT": names}

    with pytest.raises(BadUsage, match=message):
        composed_for_design(caller)


def test_each_setting_of_a_drain_is_obeyed_by_a_run_or_left_out_on_purpose() -> None:
    source = Path(drain_settings.__file__).read_text()
    # Of two workers of a run only one could have the port.
    left_out = {"DUETIME_METRICS_PORT"}

    assert set(re.findall(r'"(DUETIME_[A-Z_]+)"', source)) == {*OBEYED, *left_out}


def test_the_main_process_has_only_what_a_run_uses_until_the_run_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in FOREIGN.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)

    with own_environment() as caller:
        assert caller == before
        kept = {name for name in os.environ if name in FOREIGN}

    assert kept == {"TZ", *(name for name in FOREIGN if name.startswith("DUETIME_"))}
    assert dict(os.environ) == before


def test_a_process_of_somebody_else_keeps_all_but_the_names_of_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**FOREIGN, "TOKEN": "x"}.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)

    with other_servers_hidden():
        # Celery itself may have set further variables in this process.
        hidden = {*FOREIGN, "TOKEN"} - set(os.environ)
        assert hidden == {"CELERY_BROKER_URL", "BROKER_URL", "PGHOSTADDR", "PGOPTIONS"}

    assert dict(os.environ) == before


def test_a_worker_gets_the_composed_environment_and_its_settings(
    tempdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in FOREIGN.items():
        monkeypatch.setenv(name, value)
    settings = Settings.from_environment(
        {"DUETIME_DESIGN": "mine", "DUETIME_DATABASE_URL": "postgresql://x", "DUETIME_BROKER_URL": "redis://x"}
    )
    out = tmp_path / "environment.json"
    program = "import json, os, sys; print(json.dumps(dict(os.environ)), file=open(sys.argv[1], 'w'), flush=True)"
    worker = WorkerProcess(
        name="worker-1",
        role=Role(name="worker", argv=(sys.executable, "-c", program, str(out)), ready=""),
        settings=replace(settings, deliveries=tmp_path / "deliveries.jsonl"),
        state=tmp_path / "state",
        log=tmp_path / "log",
        tempdir=tempdir,
    )
    worker.start()
    assert_eventually(worker.main_ended)

    found = json.loads(out.read_text())
    # The run sets the direct URL itself, to none.
    assert {name: found[name] for name in FOREIGN if name in found} == {**FIXED, "DUETIME_DIRECT_DATABASE_URL": ""}
    assert found["DUETIME_DATABASE_URL"] == "postgresql+psycopg://x"
