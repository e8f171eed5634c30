"""What does schedule() cost the caller's transaction, and what does it cost in bulk?"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from itertools import count

import psycopg
import pytest
from psycopg.types.json import Jsonb
from pytest_benchmark.fixture import BenchmarkFixture
from sqlalchemy import text
from sqlalchemy.orm import Session

from benchmarks.conftest import DESIGNS, Bench, Found, Paired, Size
from duetime.clock import system_clock
from duetime.interface import Notification

Make = Callable[..., Bench]

INSERT = """
    INSERT INTO pending_notifications (key, revision, kind, recipient, payload, due_at, attempt_at)
    VALUES (:key, 1, 'bench', 'a@b.example', '{}', :due_at, :due_at)
"""
UNNEST = """
    INSERT INTO pending_notifications AS old (key, revision, kind, recipient, payload, due_at, attempt_at)
    SELECT *, due_at FROM unnest(%s::text[], %s::int[], %s::text[], %s::text[], %s::jsonb[], %s::timestamptz[])
        AS new(key, revision, kind, recipient, payload, due_at)
    ON CONFLICT (key) DO UPDATE SET revision = excluded.revision, recipient = excluded.recipient,
        payload = excluded.payload, due_at = excluded.due_at, attempt_at = excluded.attempt_at
    WHERE old.revision < excluded.revision
"""
COPY = "COPY pending_notifications (key, revision, kind, recipient, payload, due_at, attempt_at) FROM STDIN"
FAR = timedelta(days=30)


def notes(prefix: str, number: int, ahead: timedelta = FAR) -> list[Notification]:
    due_at = system_clock() + ahead
    return [
        Notification(
            key=f"{prefix}:{one}", revision=1, kind="bench", recipient="a@b.example", due_at=due_at, payload={"n": one}
        )
        for one in range(number)
    ]


def a_second(number: int, do: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    do()
    return number / (time.perf_counter() - began_s)


@pytest.mark.benchmark(group="one schedule() in a committed transaction")
def test_schedule_one_at_a_time(make_bench: Make, benchmark: BenchmarkFixture, found: Found, size: Size) -> None:
    read_model, calls = make_bench("push_readmodel"), size.pick(20, 300, 2000)
    paired, keys = Paired(), count()

    def schedule(some: list[Notification]) -> None:
        for note in some:
            with Session(read_model.engine) as session:
                read_model.scheduler.schedule(note, session=session)
                session.commit()

    def insert(some: list[Notification]) -> None:
        for note in some:
            with Session(read_model.engine) as session:
                session.execute(text(INSERT), {"key": note.key, "due_at": note.due_at})
                session.commit()

    def timed(contender: str, do: Callable[[list[Notification]], None], ahead: timedelta = FAR) -> None:
        some = notes(f"{contender}{next(keys)}", calls, ahead)
        paired.note(contender, a_second(calls, lambda: do(some)))

    def one_round() -> None:
        timed("INSERT and COMMIT in a session", insert)
        timed("schedule()", schedule)
        timed("schedule(), due within the hour", schedule, timedelta(minutes=30))
        with closing(psycopg.connect(plain(read_model))) as connection:
            statement = INSERT.replace(":key", "%s").replace(":due_at", "%s")

            def without_sqlalchemy(some: list[Notification]) -> None:
                for note in some:
                    connection.execute(statement, [note.key, note.due_at, note.due_at])
                    connection.commit()

            timed("INSERT and COMMIT on the driver", without_sqlalchemy)

    benchmark.pedantic(one_round, rounds=size.pick(1, 3, 5), warmup_rounds=size.pick(0, 1, 1))

    assert read_model.pending() == 4 * calls * (len(paired.figures["schedule()"]))
    found.table(["in a transaction of its own", "a second"], [(n, round(paired.median(n))) for n in paired.figures])
    in_session = paired.ratio("schedule()", "INSERT and COMMIT in a session")
    told = paired.ratio("schedule(), due within the hour", "INSERT and COMMIT in a session")
    on_driver = paired.ratio("schedule()", "INSERT and COMMIT on the driver")
    found.say(
        f"schedule() alone runs at {in_session:.0%} of a bare INSERT and COMMIT in such a session, {on_driver:.0%} of "
        f"one without SQLAlchemy; where a server is told of it, {told:.0%} of the former"
    )


@pytest.mark.benchmark(group="a thousand at once")
def test_schedule_in_bulk(make_bench: Make, benchmark: BenchmarkFixture, found: Found, size: Size) -> None:
    read_model, many, times = make_bench("push_readmodel"), 1000, size.pick(1, 10, 50)
    paired, keys = Paired(), count()

    def schedule_many() -> None:
        for _ in range(times):
            with Session(read_model.engine) as session:
                read_model.scheduler.schedule_many(notes(f"ours{next(keys)}", many), session=session)
                session.commit()

    def unnest(connection: psycopg.Connection[object]) -> None:
        for _ in range(times):
            rows = notes(f"unnest{next(keys)}", many)
            columns = [[getattr(note, name) for note in rows] for name in ("key", "revision", "kind", "recipient")]
            payloads, dues = [Jsonb(note.payload) for note in rows], [note.due_at for note in rows]
            connection.execute(UNNEST, [*columns, payloads, dues])
            connection.commit()

    def copy(connection: psycopg.Connection[object]) -> None:
        for _ in range(times):
            with connection.cursor().copy(COPY) as copying:
                for note in notes(f"copy{next(keys)}", many):
                    body = json.dumps(note.payload)
                    copying.write_row((note.key, 1, note.kind, note.recipient, body, note.due_at, note.due_at))
            connection.commit()

    def one_round() -> None:
        with closing(psycopg.connect(plain(read_model))) as connection:
            paired.note("INSERT … SELECT unnest", a_second(many * times, lambda: unnest(connection)))
            paired.note("schedule_many", a_second(many * times, schedule_many))
            paired.note("COPY", a_second(many * times, lambda: copy(connection)))

    benchmark.pedantic(one_round, rounds=size.pick(1, 3, 5))

    assert read_model.pending() == 3 * many * times * len(paired.figures["COPY"])
    found.table(
        ["a thousand in one transaction", "rows a second"], [(n, round(paired.median(n))) for n in paired.figures]
    )
    of_unnest, of_copy = (paired.ratio("schedule_many", other) for other in ("INSERT … SELECT unnest", "COPY"))
    found.say(
        f"schedule_many writes {of_unnest:.0%} of what INSERT … SELECT unnest does, and {of_copy:.0%} of COPY, which "
        "can replace no older revision"
    )


@pytest.mark.benchmark(group="what schedule() adds to a business transaction of ten reminders")
def test_create_an_event(make_bench: Make, benchmark: BenchmarkFixture, found: Found, size: Size) -> None:
    calls, paired = size.pick(5, 50, 200), Paired()
    benches = [make_bench(name) for name in DESIGNS]
    users = benches[0].add_users(10)
    numbers = count(1)
    for bench in benches:
        bench.number_events_by(numbers)

    def one_round() -> None:
        for bench in benches:
            due_at = system_clock() + FAR
            each = a_second(calls, lambda: [bench.create_event(due_at, users) for _ in range(calls)])  # noqa: B023
            paired.note(bench.design.name, 1000 / each)

    benchmark.pedantic(one_round, rounds=size.pick(1, 3, 5))

    for bench in benches[1:]:
        assert bench.pending() == calls * 10 * len(paired.figures[bench.design.name])
    found.table(["design", "ms a transaction"], [(name, round(paired.median(name), 2)) for name in paired.figures])
    alone = DESIGNS[0]
    added = {name: paired.median(name) - paired.median(alone) for name in DESIGNS[1:]}
    found.say(
        f"ten reminders add {added['push_readmodel']:.1f} ms to a transaction of {paired.median(alone):.1f} ms through "
        f"the read model, and {added['oban_style_queue']:.1f} ms through the queue; the poller's does nothing"
    )


def plain(bench: Bench) -> str:
    return bench.settings.database_url.replace("postgresql+psycopg", "postgresql")
