"""How do the league's entrants compare under the same work, each with its tuned settings?

Each round measures every entrant once, one after another, so that a slow moment of the machine affects all of them.
Every delivery is an HTTP request to one gateway, also those of our own designs. ``duetime league --speeds FILE`` shows
these figures; FILE is what ``--benchmark-json FILE`` wrote.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import count
from pathlib import Path
from statistics import median, quantiles

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import Findings, PairedFigures, Size
from benchmarks.league import Stand, memory_mb, stand
from duetime.clock import instant
from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.processes.cleanup import run_tempdir
from duetime.harness.processes.services import Services
from duetime.harness.processes.worker_process import WorkerProcess
from duetime.league.entrants import entrant_names, full_name, not_here, variants_of
from duetime.league.matrix import table_name
from duetime.league.speeds import figure_text
from duetime.settings import Settings

OnStand = Callable[[str], AbstractContextManager[Stand]]
IN_QUICK = ("push_readmodel", "contender:procrastinate:tuned", "contender:rq:tuned")
DRAIN_FOR_S, RECOVER_WITHIN_S, STOP_WITHIN_S = 60.0, 130.0, 40.0
PER_SECOND = 100
FAR_S = 100 * 86_400.0
SETTLED_AFTER_S = 2.0


@pytest.fixture
def names(request: pytest.FixtureRequest, size: Size) -> list[str]:
    """The tuned form of every entrant that is installed, or those of --entrants."""
    wanted = [full_name(name) for name in request.config.getoption("--entrants").split(",") if name]
    every = [variants_of(name)[-1].name for name in entrant_names() if name != "push_readmodel" and not not_here(name)]
    every = ["push_readmodel", *every]
    return wanted or [name for name in every if size.name != "quick" or name in IN_QUICK]


@pytest.fixture
def on_stand(settings: Settings, tmp_path: Path) -> Iterator[OnStand]:
    # Servers of its own: those of other benchmarks must not run beside them.
    with run_tempdir() as tempdir:
        services, numbers = Services(tempdir, environment={}), count(1)
        services.prepare(side_by_side=1)
        yield lambda name: stand(name, settings, services, tempdir, tmp_path / f"league-{next(numbers)}")


@pytest.mark.benchmark(group="How fast are a library's calls and its drain?")
def test_league_speed(
    names: list[str], on_stand: OnStand, benchmark: BenchmarkFixture, findings: Findings, size: Size
) -> None:
    calls, rows = size.pick(50, 500, 2_000), size.pick(100, 2_000, 20_000)
    called, one, two = PairedFigures(), PairedFigures(), PairedFigures()

    def one_round() -> None:
        for name in names:
            with on_stand(name) as entrant:
                called.add(name, calls / entrant.schedule(calls, due_in_s=FAR_S, size=1, prefix="far")[0])
                one.add(name, drained(entrant, rows, workers=1, prefix="one"))
                two.add(name, drained(entrant, rows, workers=2, prefix="two"))

    benchmark.pedantic(one_round, rounds=size.pick(1, 1, 3))
    figures = {"schedule per second": called, "drain per second": one, "drain per second, two workers": two}
    keep(findings, names, {title: {name: paired.median(name) for name in names} for title, paired in figures.items()})
    first = max(names, key=one.median)
    findings.conclude(
        f"{rows:,} due at one instant are delivered fastest by {first}: {one.median(first):,.0f} a second by one worker"
    )


@pytest.mark.benchmark(group="How late is a library under a steady load?")
def test_league_lateness(
    names: list[str], on_stand: OnStand, benchmark: BenchmarkFixture, findings: Findings, size: Size
) -> None:
    seconds = size.pick(2, 10, 20)
    halves, most, missing = PairedFigures(), PairedFigures(), PairedFigures()

    def one_round() -> None:
        for name in names:
            with on_stand(name) as entrant:
                late_ms, absent = lateness(entrant, seconds * PER_SECOND)
                halves.add(name, median(late_ms))
                most.add(name, quantiles(late_ms, n=100)[98])
                missing.add(name, absent)

    benchmark.pedantic(one_round, rounds=size.pick(1, 1, 3))
    figures = {"p50 ms at 100/s": halves, "p99 ms at 100/s": most, "not delivered in time": missing}
    keep(findings, names, {title: {name: paired.median(name) for name in names} for title, paired in figures.items()})
    first = min(names, key=most.median)
    findings.conclude(
        f"at {PER_SECOND} a second, {first} is the most punctual: 99 of 100 within {most.median(first):.0f} ms"
    )


@pytest.mark.benchmark(group="What do a library's workers cost, and how soon are they back?")
def test_league_upkeep(
    names: list[str], on_stand: OnStand, benchmark: BenchmarkFixture, findings: Findings, size: Size
) -> None:
    few, many = size.pick(100, 1_000, 10_000), size.pick(200, 2_000, 100_000)
    titles = (f"MB, {few:,} pending", f"MB, {many:,} pending", "s back after SIGKILL", "s of a deploy")
    figures: dict[str, dict[str, float | None]] = {title: {} for title in titles}

    def one_round() -> None:
        for name in names:
            with on_stand(name) as entrant:
                measured = (*memory(entrant, few, many), recovery_s(entrant), deploy_s(entrant))
                for column, figure in zip(figures.values(), measured, strict=True):
                    column[name] = figure

    benchmark.pedantic(one_round, rounds=1)
    keep(findings, names, figures)
    findings.conclude(
        f"a killed worker's delivery comes again within {RECOVER_WITHIN_S:.0f} s, or the table has no figure"
    )


def drained(entrant: Stand, rows: int, *, workers: int, prefix: str) -> float:
    """Deliveries per second of what was due at one instant while no worker ran, for a minute at most."""
    entrant.schedule(rows, due_in_s=-1.0, size=1000, prefix=prefix)
    with entrant.workers(workers, ready=False):
        found = entrant.wait_for(rows, prefix, within_s=DRAIN_FOR_S)
    assert len(found) > 1, f"{entrant.design.name} delivered {len(found)} of {rows}"
    return (len(found) - 1) / ((found[-1].at_ns - found[0].at_ns) / 1e9)


def lateness(entrant: Stand, number: int) -> tuple[list[float], int]:
    """The lateness in ms of each first delivery of a steady load, and how many did not arrive within 15 s."""
    took_s, _ = entrant.schedule(max(20, number // 10), due_in_s=FAR_S, size=1000, prefix="far")
    lead_s = 3.0 + 2 * 10 * took_s
    with entrant.workers():
        _, first_due = entrant.schedule(number, due_in_s=lead_s, step_s=1 / PER_SECOND, size=1000, prefix="load")
        left_s = first_due + number / PER_SECOND - time.time()
        found = entrant.wait_for(number, "load", within_s=left_s + 15)
    anchor = instant()
    first_ns = int(first_due * 1e9) - anchor.wall_ns + anchor.mono_ns
    due_ns = {f"load{index}/1": first_ns + int(index / PER_SECOND * 1e9) for index in range(number)}
    arrived = {each.op: each.at_ns for each in reversed(found)}
    return [(at_ns - due_ns[op]) / 1e6 for op, at_ns in arrived.items()], number - len(arrived)


def memory(entrant: Stand, few: int, many: int) -> tuple[float, float]:
    """The memory of one worker, in MB, with few and with many that are far from due."""
    with entrant.workers() as workers:
        entrant.schedule(few, due_in_s=FAR_S, size=1000, prefix="few")
        first = settled_mb(workers)
        entrant.schedule(many - few, due_in_s=FAR_S, size=1000, prefix="many")
        return first, settled_mb(workers)


def settled_mb(workers: Sequence[WorkerProcess]) -> float:
    """The memory once it has stopped growing."""
    before = memory_mb(workers)
    while True:
        time.sleep(SETTLED_AFTER_S)
        if (now := memory_mb(workers)) <= before * 1.005:
            return now
        before = now


def recovery_s(entrant: Stand) -> float | None:
    """Seconds from SIGKILL in the middle of a delivery, with a restart at once, to its next; None if there is none."""
    with entrant.workers() as workers:
        entrant.schedule(1, due_in_s=1.0, size=1, prefix="hold")
        assert entrant.wait_for(1, "hold", within_s=60), f"{entrant.design.name} delivered nothing"
        killed_s = time.monotonic()
        workers[0].end()
        workers[0].start()
        give_up_at = killed_s + RECOVER_WITHIN_S
        while len(found := entrant.arrivals("hold")) < 2 and time.monotonic() < give_up_at:
            time.sleep(0.1)
    return found[1].at_ns / 1e9 - killed_s if len(found) > 1 else None


def deploy_s(entrant: Stand) -> float | None:
    """Seconds from SIGTERM of an idle worker until it is ready again; None if it had to be killed."""
    with entrant.workers() as workers:
        began_s = time.monotonic()
        workers[0].terminate()
        orderly = workers[0].wait_stopped(until=began_s + STOP_WITHIN_S)
        workers[0].start()
        workers[0].wait_ready(CancelToken())
        return time.monotonic() - began_s if orderly else None


def keep(findings: Findings, names: Sequence[str], figures: Mapping[str, Mapping[str, float | None]]) -> None:
    """Print the figures as a table, and store them for the page of the league."""
    findings.benchmark.extra_info["league"] = figures
    rows = [[table_name(name), *(figure_text(column.get(name)) for column in figures.values())] for name in names]
    findings.table(["entrant", *figures], rows)
