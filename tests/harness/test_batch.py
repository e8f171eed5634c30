"""Batches: their runs start together, in succession, and their cells come in a fixed order."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from duetime import registry
from duetime.clock import Instant
from duetime.harness.plan.lookup import named
from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.processes.services import Services
from duetime.harness.runs.batch import Batch, RunOne
from duetime.harness.runs.cell import Cell
from duetime.harness.runs.compare import run_side_by_side
from duetime.harness.runs.context import RunContext
from duetime.harness.runs.spec import RunSpec
from tests.cli.stored import stored_run
from tests.commands import duetime
from tests.eventually import assert_eventually
from tests.short_plan import written_to

DESIGNS = ("pull_worker", "push_readmodel")


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    return RunContext(tmp_path, Services(tmp_path, environment={}), {}, CancelToken())


def batch(scenario: str, context: RunContext, run_one: RunOne, *, after: Batch | None = None) -> Batch:
    specs = [
        RunSpec(
            design=registry.load(name),
            design_name=name,
            plan=named(scenario).plan(1),
            directory=context.tempdir / scenario / name,
            slot=slot,
            context=context,
        )
        for slot, name in enumerate(DESIGNS)
    ]
    return Batch(specs, run_one, lambda *_: None, after=after)


def passed(spec: RunSpec) -> Cell:
    return Cell(
        design=spec.design.name,
        scenario=spec.plan.scenario,
        seed=spec.plan.seed,
        outcome="pass",
        within_guarantees=True,
        explanation="",
        weakness="",
        run_dir=spec.directory,
    )


def test_runs_begin_together_and_not_before_the_last_deadline_of_the_batch_before(context: RunContext) -> None:
    deadline_passed = {design: threading.Event() for design in DESIGNS}
    starts: list[Instant] = []

    def first(spec: RunSpec, _batch: Batch, report: Callable[[str], None]) -> Cell:
        report("waiting")
        deadline_passed[spec.design_name].wait(10)
        report("closing")
        return passed(spec)

    def second(spec: RunSpec, batch: Batch, _report: Callable[[str], None]) -> Cell:
        starts.append(batch.agree_on_start())
        return passed(spec)

    before = batch("calm", context, first)
    before.start()
    before.nearly_over.wait(context.stop)
    after = batch("downtime", context, second, after=before)
    after.start()
    deadline_passed["pull_worker"].set()
    assert [cell.design for cell in [next(before.cells())]] == ["pull_worker"]
    assert not starts
    opened_ns = time.monotonic_ns()
    deadline_passed["push_readmodel"].set()

    assert len(list(after.cells())) == 2
    assert starts[0] == starts[1]
    assert starts[0].mono_ns > opened_ns


def test_cells_come_in_the_order_of_the_runs_each_as_soon_as_it_can(context: RunContext) -> None:
    may_end = {design: threading.Event() for design in DESIGNS}

    def run_one(spec: RunSpec, _batch: Batch, _report: Callable[[str], None]) -> Cell:
        may_end[spec.design_name].wait(10)
        return passed(spec)

    runs = batch("calm", context, run_one)
    runs.start()
    cells: list[str] = []
    reader = threading.Thread(target=lambda: cells.extend(cell.design for cell in runs.cells()))
    reader.start()
    may_end["push_readmodel"].set()
    assert_eventually(lambda: sum(thread.name.startswith("calm/") for thread in threading.enumerate()) == 1)
    assert not cells
    may_end["pull_worker"].set()
    reader.join(timeout=10)

    assert cells == ["pull_worker", "push_readmodel"]


def test_a_run_that_could_not_start_does_not_hold_up_the_next_batch(context: RunContext) -> None:
    def run_one(spec: RunSpec, batch: Batch, _report: Callable[[str], None]) -> Cell:
        if spec.design_name == "pull_worker":
            batch.leave()
        else:
            batch.agree_on_start()
        return passed(spec)

    before = batch("calm", context, run_one)
    before.start()
    after = batch("downtime", context, run_one, after=before)
    after.start()

    assert len(list(before.cells())) == len(list(after.cells())) == 2


def test_a_run_without_a_directory_of_its_own_is_not_judged_by_what_is_there(context: RunContext) -> None:
    there = stored_run(context.tempdir, came=0)
    results = (there / "closed.json").read_text()
    design = registry.load("push_readmodel")
    plan = named("crash").plan(1)
    spec = RunSpec(design=design, design_name=design.name, plan=plan, directory=there, slot=0, context=context)

    [cell] = run_side_by_side([spec])

    assert (cell.outcome, cell.counts) == ("unknown", {})
    assert "FileExistsError" in cell.explanation
    assert not (there / "results.json").exists()
    assert (there / "closed.json").read_text() == results


def test_a_stop_ends_the_wait_for_the_batch_before(context: RunContext) -> None:
    def first(spec: RunSpec, _batch: Batch, report: Callable[[str], None]) -> Cell:
        report("waiting")
        context.stop.sleep(60)
        return passed(spec)

    def second(spec: RunSpec, batch: Batch, _report: Callable[[str], None]) -> Cell:
        batch.agree_on_start()
        return passed(spec)

    before = batch("calm", context, first)
    before.start()
    before.nearly_over.wait(context.stop)
    after = batch("downtime", context, second, after=before)
    after.start()
    began = time.monotonic()
    for one in (before, after):
        one.abandon()

    assert time.monotonic() - began < 10
    assert not list(before.cells()) and not list(after.cells())


@pytest.mark.runs
@pytest.mark.full
def test_the_next_scenario_starts_its_processes_before_the_last_one_closes_and_runs_after_it(tmp_path: Path) -> None:
    plans = [str(written_to(tmp_path / f"{name}.json")) for name in ("first", "second")]
    done = duetime("compare", "--designs", "push_readmodel", "--scenarios", ",".join(plans), "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr

    lines = [line.partition(" s  ")[2] for line in done.stderr.splitlines()]
    assert lines.index("second / push_readmodel: starting") < lines.index("first / push_readmodel: closing")
    assert lines.index("first / push_readmodel: closing") < lines.index("second / push_readmodel: running")
    assert lines.index("first / push_readmodel: pass") < lines.index("second / push_readmodel: pass")
    first, second = (
        json.loads(next(tmp_path.glob(f"*-*/{name}/*/plan.json")).read_text()) for name in ("first", "second")
    )
    last_deadline_s = max(one["due_s"] for one in first["operations"]) + first["profile"]["lateness_limit_s"]
    assert second["started"]["mono_ns"] > first["started"]["mono_ns"] + last_deadline_s * 1e9
