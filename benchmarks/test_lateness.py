"""How late is a notification delivered by a healthy worker?"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from random import Random
from statistics import quantiles

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import DESIGNS, Bench, Findings, PairedFigures, Size
from duetime.clock import instant, system_clock

MakeBench = Callable[..., Bench]
Schedule = Callable[[Sequence[datetime], str], Sequence[str]]
"""Schedules one notification for each due time, with this prefix of the keys if it may choose. Returns the keys."""

PER_SECOND = 200
LOOK_AHEAD_S = 0.05
POLLED_WITHIN_S = 2.5
"""Wait this long after the last due time: more than two poll intervals."""
YEAR = timedelta(days=365)


def poisson(random: Random, first: datetime, seconds: float) -> Iterator[datetime]:
    at_s = random.expovariate(PER_SECOND)
    while at_s < seconds:
        yield first + timedelta(seconds=at_s)
        at_s += random.expovariate(PER_SECOND)


def lateness_ms(
    bench: Bench, due_times: Sequence[datetime], keys: Sequence[str], *, within_guarantees: bool
) -> list[float]:
    """Return the lateness of each delivery. Within its guarantees each must have been delivered once."""
    anchor = instant()
    due_ns = {
        f"{key}/1": int(due_at.timestamp() * 1e9) - anchor.wall_ns + anchor.mono_ns
        for key, due_at in zip(keys, due_times, strict=True)
    }
    delivered = bench.deliveries()
    late_ms = [(delivery.at_ns - due_ns[delivery.op]) / 1e6 for delivery in delivered]
    assert min(late_ms) > -1, "a delivery was early"
    if within_guarantees:
        assert Counter(delivery.op for delivery in delivered) == dict.fromkeys(due_ns, 1)
    return late_ms


def scheduling_time(number: float, schedule: Schedule, prefix: str) -> timedelta:
    """Estimate how long scheduling `number` notifications takes here, from a tenth of them due in a year."""
    few = max(20, int(number / 10))
    began_s = time.monotonic()
    schedule([system_clock() + YEAR] * few, f"{prefix}far:")
    return timedelta(seconds=1 + 2 * (time.monotonic() - began_s) / few * number)


def scheduling_with(bench: Bench) -> Schedule:
    def schedule(due_times: Sequence[datetime], prefix: str) -> Sequence[str]:
        bench.schedule(due_times, prefix=prefix)
        return [f"{prefix}{number}" for number in range(len(due_times))]

    return schedule


def stream(
    bench: Bench, serving: AbstractContextManager[object], schedule: Schedule, prefix: str, *, seconds: float, seed: int
) -> list[float]:
    """Return the lateness of a Poisson stream that was scheduled before its first due time."""
    bench.delete_deliveries()
    with serving:
        first = system_clock() + scheduling_time(seconds * PER_SECOND, schedule, prefix)
        due_times = list(poisson(Random(seed), first, seconds))
        keys = schedule(due_times, prefix)
        assert system_clock() < first, "scheduling took longer than the time before the first due time"
        last_in_s = (due_times[-1] - system_clock()).total_seconds()
        if bench.design.guarantees.delivery == "nothing":
            time.sleep(last_in_s + POLLED_WITHIN_S)
        else:
            bench.wait_for_deliveries(len(due_times), within_s=last_in_s + 30)
    return lateness_ms(bench, due_times, keys, within_guarantees=bench.design.guarantees.delivery != "nothing")


def percentile(late_ms: Sequence[float], percent: int) -> float:
    return quantiles(late_ms, n=100)[percent - 1]


@pytest.mark.benchmark(group=f"How late are notifications under load, {PER_SECOND} a second, one worker?")
def test_lateness_of_a_stream(
    make_bench: MakeBench, benchmark: BenchmarkFixture, findings: Findings, size: Size
) -> None:
    seconds, polled_for = size.pick(1, 2, 8), size.pick(1, 1, 8)
    poller, read_model, queue = (make_bench(name) for name in DESIGNS)
    users = poller.add_users(1)
    all_ms: dict[str, list[float]] = {}
    p50, p99 = PairedFigures(), PairedFigures()
    rounds = iter(range(1000))

    def as_events(due_times: Sequence[datetime], _prefix: str) -> Sequence[str]:
        return [f"event-reminder:{poller.create_event(due_at, users)}:{users[0]}" for due_at in due_times]

    def one_round() -> None:
        seed = next(rounds)
        contenders = {
            "LISTEN and a timer": (read_model, read_model.bare("timer"), scheduling_with(read_model)),
            "push_readmodel": (read_model, read_model.workers(), scheduling_with(read_model)),
            "push_readmodel, look-ahead": (
                read_model,
                read_model.workers(DUETIME_LOOK_AHEAD_S=str(LOOK_AHEAD_S)),
                scheduling_with(read_model),
            ),
            "oban_style_queue": (queue, queue.workers(), scheduling_with(queue)),
        }
        if seed == 0:
            contenders["pull_worker"] = (poller, poller.workers(), as_events)
        for name, (bench, serving, schedule) in contenders.items():
            lasts = polled_for if bench is poller else seconds
            late_ms = stream(bench, serving, schedule, f"{name}{seed}:", seconds=lasts, seed=seed)
            all_ms.setdefault(name, []).extend(late_ms)
            p50.add(name, percentile(late_ms, 50))
            p99.add(name, percentile(late_ms, 99))

    benchmark.pedantic(one_round, rounds=size.pick(1, 1, 5))

    findings.table(
        ["contender", "p50 ms", "p99 ms", "max ms"],
        [
            (name, round(p50.median(name), 2), round(p99.median(name), 2), round(max(all_ms[name]), 1))
            for name in all_ms
        ],
    )
    findings.plot(
        "lateness", x="ms late", y="share of the notifications", logarithmic="x",
        series={name: ecdf(late_ms) for name, late_ms in all_ms.items()},
    )  # fmt: skip
    bare, plain, ahead, queue_name = (
        "LISTEN and a timer",
        "push_readmodel",
        "push_readmodel, look-ahead",
        "oban_style_queue",
    )
    findings.conclude(
        f"the read model's p99 is {p99.ratio(plain, bare):.2f} × that of a bare LISTEN and timer loop, and "
        f"{p99.ratio(plain, queue_name):.2f} × the queue's; with look-ahead its p50 is {p50.ratio(ahead, bare):.2f} × "
        f"the bare loop's"
    )


@pytest.mark.benchmark(group="How late is the last of a burst, two workers?")
def test_lateness_of_a_burst(
    make_bench: MakeBench, benchmark: BenchmarkFixture, findings: Findings, size: Size
) -> None:
    number = size.pick(200, 500, 5000)
    benches = [make_bench(name) for name in DESIGNS[1:]]
    last = PairedFigures()
    rounds = iter(range(1000))

    def one_round() -> None:
        seed = next(rounds)
        for bench in benches:
            bench.delete_deliveries()
            schedule = scheduling_with(bench)
            with bench.workers(2):
                due_at = system_clock() + scheduling_time(number, schedule, f"burst{seed}:")
                due_times = [due_at + timedelta(seconds=index / number) for index in range(number)]
                keys = schedule(due_times, f"burst{seed}:")
                assert system_clock() < due_at, "scheduling took longer than the time before the first due time"
                bench.wait_for_deliveries(number)
            last.add(bench.design.name, max(lateness_ms(bench, due_times, keys, within_guarantees=True)))

    benchmark.pedantic(one_round, rounds=size.pick(1, 1, 3))

    findings.table(["design", "latest, ms"], [(name, round(last.median(name), 1)) for name in last.figures])
    findings.conclude(
        f"of {number} due within one second the latest is {last.median('push_readmodel'):.0f} ms late from the read "
        f"model, {last.median('oban_style_queue'):.0f} ms from the queue"
    )


def ecdf(late_ms: Sequence[float], points: int = 200) -> list[tuple[float, float]]:
    """Return points of the cumulative distribution."""
    ordered = sorted(late_ms)
    steps = [round(step * (len(ordered) - 1) / points) for step in range(points + 1)]
    return [(ordered[step], (step + 1) / len(ordered)) for step in steps]
