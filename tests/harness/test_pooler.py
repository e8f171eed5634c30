"""With a pooler in its plan, every process of a run reaches PostgreSQL through that pooler."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from duetime import reference
from duetime.contenders import Contender
from duetime.harness.plan.lookup import named
from duetime.harness.plan.plan import Environment
from duetime.harness.processes import pooler
from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.processes.cleanup import run_tempdir
from duetime.harness.processes.services import ServiceRequirements, Services
from duetime.harness.runs.applicability import not_applicable_reason
from duetime.harness.runs.context import RunContext
from duetime.harness.runs.participants import RunProcesses
from duetime.harness.runs.run_directory import RunDirectory
from duetime.harness.runs.spec import RunSpec
from duetime.urls import libpq_url
from tests.eventually import assert_eventually

SESSIONS = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"


@pytest.fixture
def own_tempdir() -> Iterator[Path]:
    with run_tempdir() as path:
        yield path


@pytest.mark.processes
@pytest.mark.skipif(pooler.unavailable() is not None, reason=pooler.MISSING)
def test_every_session_of_a_run_comes_from_its_pooler(own_tempdir: Path, tmp_path: Path) -> None:
    services = Services(own_tempdir, environment={})
    services.prepare(side_by_side=1)
    spec = RunSpec(
        design=reference.design,
        design_name="reference",
        plan=named("pooler_transaction").plan(1),
        directory=tmp_path / "run",
        slot=0,
        context=RunContext(own_tempdir, services, {}, CancelToken()),
    )
    files = RunDirectory(spec)
    files.make()
    files.write_plan()
    with services.for_run("pooled", 0, ServiceRequirements(environment=Environment(pooler="transaction"))) as endpoints:
        processes, between = RunProcesses(files, endpoints), endpoints.pooler
        assert between
        try:
            processes.install([1])
            processes.start(clients=2)
            processes.wait_ready(spec.context.stop)
            [worker] = processes.workers

            def clients() -> list[int]:
                """The process of each client connection; pgbouncer knows it, because it comes by a Unix socket."""
                return [row["remote_pid"] for row in between.connections("CLIENTS")]

            assert_eventually(lambda: len(set(clients())) == 3 and not set(clients()).isdisjoint(worker.pids()))
            with psycopg.connect(libpq_url(endpoints.database_url)) as direct:
                sessions = {pid for [pid] in direct.execute(SESSIONS)}
            assert sessions
            assert sessions <= {row["remote_pid"] for row in between.connections("SERVERS")}
        finally:
            processes.kill()

    assert json.loads((spec.directory / "plan.json").read_text())["versions"]["pgbouncer"] == pooler.version()


@pytest.mark.parametrize(
    ("environment", "program", "expected"),
    [
        ({}, None, "this machine cannot put a pooler before the database: pgbouncer is not installed"),
        ({"DUETIME_DATABASE_URL": "postgresql://h/n"}, Path("pgbouncer"), "embedded servers only"),
    ],
)
def test_without_a_pooler_its_scenarios_are_not_applicable(
    environment: dict[str, str], program: Path | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pooler, "program", lambda: program)
    monkeypatch.setattr(pooler, "version", pooler.version.__wrapped__)
    plan = named("pooler_session").plan(1)

    assert expected in (not_applicable_reason(plan, reference.design, Services(tmp_path, environment)) or "")


def test_a_library_of_others_is_not_accused_of_what_its_adapter_does_not_configure(tmp_path: Path) -> None:
    library = replace(reference.design, contender=Contender(tmp_path, "python"))
    reasons = {
        mode: not_applicable_reason(named(f"pooler_{mode}").plan(1), library, Services(tmp_path, environment={})) or ""
        for mode in ("transaction", "session")
    }

    assert "its adapter is not configured" in reasons["transaction"]
    assert "its adapter" not in reasons["session"]
