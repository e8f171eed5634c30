"""How late is a notification on a healthy server?"""

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

from benchmarks.conftest import DESIGNS, Bench, Found, Paired, Size
from duetime.clock import instant, system_clock

Make = Callable[..., Bench]
Schedule = Callable[[Sequence[datetime], str], Sequence[str]]
"""Schedules one for each due time, with keys that begin so if it may choose; returns the keys."""

A_SECOND = 200
LOOK_AHEAD_S = 0.05
WITHIN_S = 2.5
"""After the last due time: more than two poll intervals."""
A_YEAR = timedelta(days=365)


def poisson(random: Random, first: datetime, seconds: float) -> Iterator[datetime]:
    at_s = random.expovariate(A_SECOND)
    while at_s < seconds:
        yield first + timedelta(seconds=at_s)
        at_s += random.expovariate(A_SECOND)


def lateness_ms(bench: Bench, dues: Sequence[datetime], keys: Sequence[str], *, within_guarantees: bool) -> list[float]:
    """How late each delivery was; all must have come once if that was `promised`."""
    anchor = instant()
    due_ns = {
        f"{key}/1": int(due_at.timestamp() * 1e9) - anchor.wall_ns + anchor.mono_ns
        for key, due_at in zip(keys, dues, strict=True)
    }
    delivered = bench.deliveries()
    late_ms = [(one.at_ns - due_ns[one.op]) / 1e6 for one in delivered]
    assert min(late_ms) > -1, "early"
    if within_guarantees:
        assert Counter(one.op for one in delivered) == dict.fromkeys(due_ns, 1)
    return late_ms


def time_for(number: float, schedule: Schedule, prefix: str) -> timedelta:
    """What scheduling so many may take on this machine, going by a tenth of them that nobody will see become due."""
    few = max(20, int(number / 10))
    began_s = time.monotonic()
    schedule([system_clock() + A_YEAR] * few, f"{prefix}far:")
    return timedelta(seconds=1 + 2 * (time.monotonic() - began_s) / few * number)


def directly(bench: Bench) -> Schedule:
    def schedule(dues: Sequence[datetime], prefix: str) -> Sequence[str]:
        bench.schedule(dues, prefix=prefix)
        return [f"{prefix}{number}" for number in range(len(dues))]

    return schedule


def stream(
    bench: Bench, serving: AbstractContextManager[object], schedule: Schedule, prefix: str, *, seconds: float, seed: int
) -> list[float]:
    """The lateness of a Poisson stream that was scheduled before the first was due."""
    bench.forget_deliveries()
    with serving:
        first = system_clock() + time_for(seconds * A_SECOND, schedule, prefix)
        dues = list(poisson(Random(seed), first, seconds))
        keys = schedule(dues, prefix)
        assert system_clock() < first, "scheduling took longer than the time that it has"
        last_in_s = (dues[-1] - system_clock()).total_seconds()
        if bench.design.guarantees.delivery == "nothing":
            time.sleep(last_in_s + WITHIN_S)
        else:
            bench.wait_for_deliveries(len(dues), within_s=last_in_s + 30)
    return lateness_ms(bench, dues, keys, within_guarantees=bench.design.guarantees.delivery != "nothing")


def percentile(late_ms: Sequence[float], p: int) -> float:
    return quantiles(late_ms, n=100)[p - 1]


@pytest.mark.benchmark(group=f"lateness, Poisson {A_SECOND} a second, one server")
def test_lateness_of_a_stream(make_bench: Make, benchmark: BenchmarkFixture, found: Found, size: Size) -> None:
    seconds, polled_for = size.pick(1, 2, 8), size.pick(1, 1, 8)
    poller, read_model, queue = (make_bench(name) for name in DESIGNS)
    users = poller.add_users(1)
    all_ms: dict[str, list[float]] = {}
    p50, p99 = Paired(), Paired()
    rounds = iter(range(1000))

    def as_events(dues: Sequence[datetime], _prefix: str) -> Sequence[str]:
        return [f"event-reminder:{poller.create_event(due_at, users)}:{users[0]}" for due_at in dues]

    def one_round() -> None:
        seed = next(rounds)
        contenders = {
            "LISTEN and a timer": (read_model, read_model.bare("timer"), directly(read_model)),
            "push_readmodel": (read_model, read_model.workers(), directly(read_model)),
            "push_readmodel, look-ahead": (
                read_model,
                read_model.workers(DUETIME_LOOK_AHEAD_S=str(LOOK_AHEAD_S)),
                directly(read_model),
            ),
            "oban_style_queue": (queue, queue.workers(), directly(queue)),
        }
        if seed == 0:
            contenders["pull_worker"] = (poller, poller.workers(), as_events)
        for name, (bench, serving, schedule) in contenders.items():
            lasts = polled_for if bench is poller else seconds
            late_ms = stream(bench, serving, schedule, f"{name}{seed}:", seconds=lasts, seed=seed)
            all_ms.setdefault(name, []).extend(late_ms)
            p50.note(name, percentile(late_ms, 50))
            p99.note(name, percentile(late_ms, 99))

    benchmark.pedantic(one_round, rounds=size.pick(1, 1, 5))

    found.table(
        ["contender", "p50 ms", "p99 ms", "max ms"],
        [
            (name, round(p50.median(name), 2), round(p99.median(name), 2), round(max(all_ms[name]), 1))
            for name in all_ms
        ],
    )
    found.plot(
        "lateness", x="ms late", y="share of the notifications", logarithmic="x",
        series={name: ecdf(late_ms) for name, late_ms in all_ms.items()},
    )  # fmt: skip
    bare, ours, ahead, queued = "LISTEN and a timer", "push_readmodel", "push_readmodel, look-ahead", "oban_style_queue"
    found.say(
        f"the read model's p99 is {p99.ratio(ours, bare):.2f} × that of a bare LISTEN and timer loop, and "
        f"{p99.ratio(ours, queued):.2f} × the queue's; with look-ahead its p50 is {p50.ratio(ahead, bare):.2f} × "
        f"the bare loop's"
    )


@pytest.mark.benchmark(group="lateness of a burst, two servers")
def test_lateness_of_a_burst(make_bench: Make, benchmark: BenchmarkFixture, found: Found, size: Size) -> None:
    number = size.pick(200, 500, 5000)
    benches = [make_bench(name) for name in DESIGNS[1:]]
    last = Paired()
    rounds = iter(range(1000))

    def one_round() -> None:
        seed = next(rounds)
        for bench in benches:
            bench.forget_deliveries()
            schedule = directly(bench)
            with bench.workers(2):
                due_at = system_clock() + time_for(number, schedule, f"burst{seed}:")
                dues = [due_at + timedelta(seconds=one / number) for one in range(number)]
                keys = schedule(dues, f"burst{seed}:")
                assert system_clock() < due_at, "scheduling took longer than the time that it has"
                bench.wait_for_deliveries(number)
            last.note(bench.design.name, max(lateness_ms(bench, dues, keys, within_guarantees=True)))

    benchmark.pedantic(one_round, rounds=size.pick(1, 1, 3))

    found.table(["design", "latest, ms"], [(name, round(last.median(name), 1)) for name in last.figures])
    found.say(
        f"of {number} due within one second the latest is {last.median('push_readmodel'):.0f} ms late from the read "
        f"model, {last.median('oban_style_queue'):.0f} ms from the queue"
    )


def ecdf(late_ms: Sequence[float], points: int = 200) -> list[tuple[float, float]]:
    ordered = sorted(late_ms)
    steps = [round(step * (len(ordered) - 1) / points) for step in range(points + 1)]
    return [(ordered[step], (step + 1) / len(ordered)) for step in steps]
