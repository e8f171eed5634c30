"""Carries out candidates as real runs, and keeps the run directories of the best plan."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from duetime.checker import Results
from duetime.errors import DuetimeError
from duetime.harness.plan import catalogue
from duetime.harness.plan.plan import Plan
from duetime.harness.plan.scenario import SIDE_BY_SIDE
from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.processes.cleanup import run_tempdir
from duetime.harness.processes.fork_server import fork_server
from duetime.harness.processes.services import Services
from duetime.harness.runs.compare import run_side_by_side
from duetime.harness.runs.context import RunContext
from duetime.harness.runs.guarantees import not_covered
from duetime.harness.runs.spec import RunSpec
from duetime.history import History
from duetime.interface import Design
from duetime.report.mechanism import SHRUNK
from duetime.shrink.failed_run import StoredRun, stored_run
from duetime.shrink.kinds import Kind, Observed, observed
from duetime.shrink.trials import RunAll

HASH_DIGITS = 12


class RunStore:
    """The run directories of candidates, below `directory`: the beginning of the plan's hash, and a number."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def new(self, plan: Plan, beside: int) -> Path:
        """A directory for the next run of `plan`, the `beside`-th of the runs side by side."""
        numbers = [int(path.name.rpartition("-")[2]) for path in self.of(plan)]
        return self._directory / f"{_stem(plan)}-{max(numbers, default=0) + 1 + beside}"

    def of(self, plan: Plan) -> list[Path]:
        return sorted(self._directory.glob(f"{_stem(plan)}-*"))

    def keep_only(self, plan: Plan) -> None:
        """Remove the run directories of every other plan."""
        for run_dir in set(self._directory.glob("*-*")) - set(self.of(plan)):
            shutil.rmtree(run_dir, ignore_errors=True)

    def example(self, plan: Plan, kind: Kind) -> Path | None:
        """A run of `plan` that shows a violation of `kind`; None if none is kept."""
        for run_dir in reversed(self.of(plan)):
            # An interrupted run has no end.
            with suppress(DuetimeError, OSError):
                if kind.is_shown_by(frozenset(stored_run(run_dir).found)):
                    return run_dir
        return None


@contextmanager
def real_runs(run: StoredRun, store: RunStore, at_once: int) -> Iterator[RunAll]:
    """What runs plans with the design of `run`, up to `at_once` side by side."""
    with run_tempdir() as tempdir, fork_server(tempdir) as clients:
        services = Services(tempdir)
        context = RunContext(tempdir, services, services.prepare(side_by_side=at_once), CancelToken(), clients)
        yield Runner(run.design, run.design_name, context, store)


class Runner:
    """Runs plans with `design`. design_name: the name by which a process loads the design again."""

    def __init__(self, design: Design, design_name: str, context: RunContext, store: RunStore) -> None:
        self._design = design
        self._design_name = design_name
        self._context = context
        self._store = store

    def __call__(self, plans: Sequence[Plan]) -> list[Observed]:
        """Run `plans` side by side; return what each run shows."""
        specs = [
            RunSpec(
                design=self._design,
                design_name=self._design_name,
                plan=plan,
                directory=self._store.new(plan, slot),
                slot=slot,
                context=self._context,
            )
            for slot, plan in enumerate(plans)
        ]
        plan_of = {spec.directory: spec.plan for spec in specs}
        seen: dict[Path, Observed] = {}

        def judged(run_dir: Path, history: History, results: Results) -> None:
            uncovered = not_covered(self._design.guarantees, plan_of[run_dir], history, results)
            seen[run_dir] = observed(history, results, uncovered)

        run_side_by_side(specs, on_judged=judged)
        return [seen.get(spec.directory) for spec in specs]


def most_at_once(plan: Plan) -> int:
    """How many runs of `plan` can be made side by side without disturbing one another."""
    known = {scenario.name: scenario.side_by_side for scenario in catalogue.ALL}
    alone = 1 if plan.profile.measures_capacity else SIDE_BY_SIDE
    return known.get(plan.scenario.removesuffix(SHRUNK), alone)


def _stem(plan: Plan) -> str:
    return plan.hash()[:HASH_DIGITS]
