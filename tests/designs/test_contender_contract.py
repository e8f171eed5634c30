"""What the scheduler of every installed contender must do, in its own interpreter and without any delivery."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import NullPool

from duetime import contenders, registry
from duetime.app.tables import Base
from duetime.harness.processes.cleanup import owner_env, run_tempdir
from duetime.harness.processes.environment import composed_for_design, other_servers_hidden
from duetime.harness.processes.services import ServiceRequirements, Services
from duetime.harness.processes.worker_process import WorkerProcess
from duetime.interface import Design
from duetime.settings import Settings
from tests.designs.contender_world import CLIENT
from tests.each_contender import each_contender

pytestmark = pytest.mark.processes

CANNOT_BE_LISTED = {
    "celery_rabbitmq": "RabbitMQ does not list messages, and a worker has to declare its exchanges first"
}
FOUND_BY_ID_ALONE = {"contender:arq", "contender:rq", "contender:saq", "contender:saq_postgres", "contender:streaq"}
"""Libraries that find a job by its id only, so that their adapters do not see a newer revision."""
NEEDS_ITS_WORKER = {"apscheduler"}
"""Its clients call a worker process, the only one that may use the store."""
SKIPPED = {
    name: reason
    for name in contenders.names()
    if (reason := contenders.missing(name) or CANNOT_BE_LISTED.get(name, ""))
}


class Client:
    """A client process of `design`, and what its store holds. Each test uses keys of its own."""

    def __init__(self, design: Design, settings: Settings, engine: Engine, environment: dict[str, str], log: Path):
        assert design.contender
        self.design = design
        self._settings, self._engine, self._log = settings, engine, log
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                [design.contender.python, str(CLIENT)],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )

    def do(self, *steps: list[Any]) -> None:
        assert self.process.stdin and self.process.stdout
        for step in steps:
            self.process.stdin.write(json.dumps(step).encode() + b"\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
            assert answer == b"done\n", f"{step}: {answer!r}\n{self._log.read_text()[-2000:]}"

    def pending(self, key: str) -> list[str]:
        ops = (pending.op for pending in self.design.pending(self._settings, self._engine))
        return sorted(op for op in ops if op.rpartition("/")[0] == key)

    def needs_a_cancel(self) -> None:
        if not self.design.guarantees.cancels:
            pytest.skip(f"{self.design.name} does not guarantee that a cancel or a newer revision holds")


@pytest.fixture(scope="module")
def own_tempdir() -> Iterator[Path]:
    """Not the session's, in which the servers of other tests have their template."""
    with run_tempdir() as path, other_servers_hidden():
        Services(path, environment={}).prepare(side_by_side=1)
        yield path


@pytest.fixture(scope="module", params=each_contender(name for name in contenders.names() if name not in SKIPPED))
def client(
    request: pytest.FixtureRequest, own_tempdir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    design = registry.load(f"{contenders.PREFIX}{request.param}")
    services = Services(own_tempdir, environment={})
    log = tmp_path_factory.mktemp(request.param) / "client.log"
    with ExitStack() as stack:
        requirements = ServiceRequirements(database_by_tcp=True)
        endpoints = stack.enter_context(services.for_run(f"contract-{request.param}", 0, requirements))
        engine = create_engine(endpoints.database_url, poolclass=NullPool)
        Base.metadata.create_all(engine)
        design.install(engine)
        design.install(engine)  # safe to repeat
        settings = Settings(
            design=design.name,
            database_url=endpoints.database_url,
            broker_url=endpoints.broker_url,
            worker="client-0",
            deliveries=log.with_name("deliveries.jsonl"),
            delivery_time=timedelta(),
            reminder_lead=timedelta(seconds=10),
            poll_interval=timedelta(seconds=1),
        )
        assert design.contender
        environment = {
            **composed_for_design(),
            **settings.environment(),
            **owner_env(own_tempdir),
            **design.contender.environment(settings.database_url, settings.broker_url),
        }
        if request.param in NEEDS_ITS_WORKER:
            worker = worker_of(design, settings, own_tempdir, log.with_name("worker.log"))
            stack.callback(worker.end)
            worker.start()
            worker.wait_ready(time)
        client = Client(design, settings, engine, environment, log)
        stack.enter_context(client.process)
        stack.callback(client.process.kill)
        yield client


def worker_of(design: Design, settings: Settings, tempdir: Path, log: Path) -> WorkerProcess:
    return WorkerProcess(
        name="worker-1",
        role=design.roles[0],
        settings=settings.for_worker("worker-1"),
        state=log.with_name("state"),
        log=log,
        tempdir=tempdir,
        contender=design.contender,
    )


@pytest.mark.parametrize("name", each_contender(SKIPPED))
def test_a_contender_that_cannot_be_tested_is_skipped_with_the_reason(name: str) -> None:
    pytest.skip(f"{name}: {SKIPPED[name]}")


def test_a_notification_is_pending_after_the_commit_and_not_before(client: Client) -> None:
    client.do(["schedule", "a:b/c", 1])
    before_the_commit = client.pending("a:b/c")
    client.do(["commit"])

    assert before_the_commit == []
    assert client.pending("a:b/c") == ["a:b/c/1"]


def test_a_notification_is_not_pending_after_a_rollback(client: Client) -> None:
    client.do(["schedule", "rolled back", 1], ["rollback"], ["commit"])

    assert client.pending("rolled back") == []


def test_only_what_no_savepoint_rolled_back_is_pending(client: Client) -> None:
    client.do(["schedule", "before", 1], ["savepoint"], ["schedule", "released", 1], ["release"])
    client.do(["savepoint"], ["schedule", "undone", 1], ["rollback to"], ["schedule", "after", 1], ["commit"])

    found = [client.pending(key) for key in ("before", "released", "undone", "after")]

    assert found == [["before/1"], ["released/1"], [], ["after/1"]]


def test_a_released_savepoint_is_not_pending_after_the_transaction_is_rolled_back(client: Client) -> None:
    client.do(["savepoint"], ["schedule", "outer", 1], ["release"], ["rollback"], ["commit"])

    assert client.pending("outer") == []


def test_a_repeated_call_adds_nothing(client: Client) -> None:
    if not client.design.guarantees.unique_by_key:
        pytest.skip(f"{client.design.name} does not find a notification by its key")
    client.do(["schedule", "repeated", 1], ["commit"], ["schedule", "repeated", 1], ["commit"])
    client.do(["schedule", "repeated", 1], ["schedule", "repeated", 1], ["commit"])

    assert client.pending("repeated") == ["repeated/1"]


@pytest.mark.parametrize("between", [[], [["commit"]]], ids=["one transaction", "two transactions"])
def test_a_newer_revision_replaces_the_older(client: Client, between: list[list[Any]]) -> None:
    client.needs_a_cancel()
    key = f"replaced {len(between)}"
    client.do(["schedule", key, 1], *between, ["schedule", key, 2], ["commit"])

    assert client.pending(key) == [f"{key}/2"]


def test_an_older_revision_changes_nothing_while_a_newer_one_is_pending(
    client: Client, request: pytest.FixtureRequest
) -> None:
    client.needs_a_cancel()
    if client.design.name in FOUND_BY_ID_ALONE:
        request.applymarker(pytest.mark.xfail(reason="finds a job by its id only, so the adapter sees no newer one"))
    client.do(["schedule", "old", 3], ["commit"], ["schedule", "old", 2], ["commit"])

    assert client.pending("old") == ["old/3"]


def test_a_cancelled_notification_is_not_pending_and_can_be_scheduled_again(client: Client) -> None:
    client.needs_a_cancel()
    client.do(["schedule", "cancelled", 1], ["commit"], ["cancel", "cancelled", 2], ["commit"])
    after_the_cancel = client.pending("cancelled")
    client.do(["cancel", "cancelled", 2], ["commit"], ["schedule", "cancelled", 3], ["commit"])

    assert after_the_cancel == []
    assert client.pending("cancelled") == ["cancelled/3"]


def test_a_cancel_leaves_newer_revisions_and_other_keys(client: Client) -> None:
    client.do(["schedule", "kept", 2], ["schedule", "kept too", 1], ["commit"], ["cancel", "kept", 2], ["commit"])

    assert client.pending("kept") == ["kept/2"]
    assert client.pending("kept too") == ["kept too/1"]


@pytest.mark.parametrize("end", ["rollback", "rollback to"])
def test_a_cancel_that_is_rolled_back_cancels_nothing(client: Client, end: str) -> None:
    key = f"still wanted {end}"
    client.do(["schedule", key, 1], ["commit"], ["savepoint"], ["cancel", key, 2], [end])
    client.do(["commit"])

    assert client.pending(key) == [f"{key}/1"]
