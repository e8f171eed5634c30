"""One command's search, from a failed run to the smallest plan that still fails."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from duetime.errors import BadUsage
from duetime.harness.plan.plan import Plan
from duetime.history.format import FORMAT
from duetime.report.mechanism import SHRUNK
from duetime.runtime.jsonl import write_at_once
from duetime.shrink.failed_run import StoredRun
from duetime.shrink.kinds import Kind
from duetime.shrink.memory import FILE, StoredRuns
from duetime.shrink.runner import RunStore, most_at_once, real_runs
from duetime.shrink.search import Ending, Search
from duetime.shrink.trials import Rate, Trials

PLAN = "shrunk.json"

Report = Callable[[str, int, float, Search], None]
"""Called before runs are made: the step, how many, about how many seconds, and the search."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """shows: in how many of `repeats` runs a smaller plan has to fail; None for what suits the whole plan.

    side_by_side: how many runs at once; None for what suits the scenario.
    """

    repeats: int = 3
    shows: int | None = None
    budget_s: float = 300.0
    side_by_side: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shrunk:
    """What a search found. rate: of the plan, over the last runs of it. example: a run of it that fails.

    file: where the plan is, for `duetime run`; None if it is no smaller than the whole.
    """

    kind: Kind
    whole: Plan
    plan: Plan
    ending: Ending | Literal["interrupted"]
    rate: Rate
    rate_of_whole: Rate
    example: Path | None
    file: Path | None
    runs: int


class Shrinking:
    """Searches for the smallest plan that shows `kind` as `run` did, and keeps everything in `directory`."""

    def __init__(self, run: StoredRun, kind: Kind, settings: Settings, directory: Path) -> None:
        self._run = run
        self._kind = kind
        self._settings = settings
        self._directory = directory
        self._store = RunStore(directory / "runs")
        self._search: Search | None = None
        self._trials: Trials | None = None

    def search(self, report: Report) -> Shrunk:
        """Search until nothing can be taken away or the budget is used up.

        Raises:
            KeyboardInterrupt, SystemExit, Interrupted: the command was stopped; `so_far` has what was found.
        """
        run, settings, started = self._run, self._settings, time.monotonic()
        at_once = min(most_at_once(run.plan), settings.side_by_side or most_at_once(run.plan))
        with alone_in(self._directory), real_runs(run, self._store, at_once) as run_all:
            self._trials = Trials(
                run_all,
                self._kind,
                StoredRuns(self._directory, made_with(run)),
                shows=settings.shows,
                repeats=settings.repeats,
                at_once=at_once,
                budget_s=settings.budget_s - (time.monotonic() - started),
                before_batch=lambda step, runs, s: report(step, runs, s, search),
            )
            search = self._search = Search(
                run.plan, run.found[self._kind], self._trials, repeats=settings.repeats, on_better=self._keep
            )
            ending = search.run()
            rate = search.confirm(max(settings.repeats, at_once)) if ending == "minimal" else None
            return self._result(ending, rate)

    def so_far(self) -> Shrunk | None:
        """What an interrupted search has found; None if it had not begun."""
        return self._result("interrupted", None) if self._search else None

    def _result(self, ending: Ending | Literal["interrupted"], rate: Rate | None) -> Shrunk:
        assert self._search and self._trials  # noqa: S101 - set together, before anything has a result
        plan = self._search.best
        smaller = plan.hash() != self._search.whole.hash()
        return Shrunk(
            kind=self._kind,
            whole=self._run.plan,
            plan=plan,
            ending=ending,
            rate=rate or self._trials.rate(plan),
            rate_of_whole=self._search.rate_of_whole,
            example=self._store.example(plan, self._kind) if smaller else self._run.run_dir,
            file=self._directory / PLAN if smaller else None,
            runs=self._trials.runs,
        )

    def _keep(self, plan: Plan) -> None:
        write_plan(plan, self._directory / PLAN)
        self._store.keep_only(plan)


@contextmanager
def alone_in(directory: Path) -> Iterator[None]:
    """Keep other commands out of `directory`, which would mix their runs with those of this one.

    Raises:
        BadUsage: another command is at work there.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        _lock(descriptor, directory)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, directory: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BadUsage(
            f"another duetime shrink is at work in {directory}; wait for it, or write another --out"
        ) from error


def write_plan(plan: Plan, file: Path) -> None:
    """Write `plan` for `duetime run DESIGN FILE`."""
    write_at_once(file, {"format": FORMAT, **plan.to_json()})


def directory_of(run: StoredRun, out: Path) -> Path:
    """The directory for the search, the same each time for the same run and design."""
    scenario, design = run.plan.scenario.removesuffix(SHRUNK), run.design.name.replace(":", "-")
    return out / "shrunk" / f"{scenario}-{design}-seed{run.plan.seed}-{run.plan.hash()[:8]}"


def forget(directory: Path) -> None:
    """Forget the runs of earlier commands."""
    (directory / FILE).unlink(missing_ok=True)


def made_with(run: StoredRun) -> Mapping[str, Any]:
    """What decides how a run goes: earlier runs of another version, or of a changed design, do not count."""
    path, _, _ = run.design_name.rpartition(":")
    source = hashlib.sha256()
    for file in sorted(Path(path).parent.glob("*.py")) if path.endswith(".py") else ():
        with suppress(OSError):
            source.update(file.read_bytes())
    return {"design": run.design_name, "duetime": version("duetime"), "source": source.hexdigest()[:12]}
