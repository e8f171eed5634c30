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

from benchmarks.conftest import DESIGNS, Bench, Findings, PairedFigures, Size
from duetime.clock import system_clock
from duetime.interface import Notification

MakeBench = Callable[..., Bench]

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


def make_notifications(prefix: str, number: int, ahead: timedelta = FAR) -> list[Notification]:
    due_at = system_clock() + ahead
    return [
        Notification(
            key=f"{prefix}:{index}",
            revision=1,
            kind="bench",
            recipient="a@b.example",
            due_at=due_at,
            payload={"n": index},
        )
        for index in range(number)
    ]


def per_second(number: int, action: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    action()
    return number / (time.perf_counter() - began_s)


@pytest.mark.benchmark(group="How fast does schedule() return?")
def test_schedule_one_at_a_time(
    make_bench: MakeBench, benchmark: BenchmarkFixture, findings: Findings, size: Size
) -> None:
    read_model, calls = make_bench("push_readmodel"), size.pick(20, 300, 2000)
    paired, keys = PairedFigures(), count()

    def schedule(notifications: list[Notification]) -> None:
        for notification in notifications:
            with Session(read_model.engine) as session:
                read_model.scheduler.schedule(notification, session=session)
                session.commit()

    def insert(notifications: list[Notification]) -> None:
        for notification in notifications:
            with Session(read_model.engine) as session:
                session.execute(text(INSERT), {"key": notification.key, "due_at": notification.due_at})
                session.commit()

    def timed(contender: str, action: Callable[[list[Notification]], None], ahead: timedelta = FAR) -> None:
        notifications = make_notifications(f"{contender}{next(keys)}", calls, ahead)
        paired.add(contender, per_second(calls, lambda: action(notifications)))

    def one_round() -> None:
        timed("INSERT and COMMIT in a session", insert)
        timed("schedule()", schedule)
        timed("schedule(), due within the hour", schedule, timedelta(minutes=30))
        with closing(psycopg.connect(read_model.psycopg_url)) as connection:
            statement = INSERT.replace(":key", "%s").replace(":due_at", "%s")

            def without_sqlalchemy(notifications: list[Notification]) -> None:
                for notification in notifications:
                    connection.execute(statement, [notification.key, notification.due_at, notification.due_at])
                    connection.commit()

            timed("INSERT and COMMIT on the driver", without_sqlalchemy)

    benchmark.pedantic(one_round, rounds=size.pick(1, 3, 5), warmup_rounds=size.pick(0, 1, 1))

    assert read_model.pending() == 4 * calls * (len(paired.figures["schedule()"]))
    findings.table(
        ["in a transaction of its own", "a second"], [(name, round(paired.median(name))) for name in paired.figures]
    )
    in_session = paired.ratio("schedule()", "INSERT and COMMIT in a session")
    notifying = paired.ratio("schedule(), due within the hour", "INSERT and COMMIT in a session")
    on_driver = paired.ratio("schedule()", "INSERT and COMMIT on the driver")
    findings.conclude(
        f"schedule() alone runs at {in_session:.0%} of a bare INSERT and COMMIT in such a session, {on_driver:.0%} of "
        f"one without SQLAlchemy; with a NOTIFY, {notifying:.0%} of the former"
    )


@pytest.mark.benchmark(group="How fast are a thousand scheduled in one transaction?")
def test_schedule_in_bulk(make_bench: MakeBench, benchmark: BenchmarkFixture, findings: Findings, size: Size) -> None:
    read_model, many, repeats = make_bench("push_readmodel"), 1000, size.pick(1, 10, 50)
    paired, keys = PairedFigures(), count()

    def schedule_many() -> None:
        for _ in range(repeats):
            with Session(read_model.engine) as session:
                read_model.scheduler.schedule_many(make_notifications(f"ours{next(keys)}", many), session=session)
                session.commit()

    def unnest(connection: psycopg.Connection[object]) -> None:
        for _ in range(repeats):
            rows = make_notifications(f"unnest{next(keys)}", many)
            columns = [[getattr(row, name) for row in rows] for name in ("key", "revision", "kind", "recipient")]
            payloads, due_times = [Jsonb(row.payload) for row in rows], [row.due_at for row in rows]
            connection.execute(UNNEST, [*columns, payloads, due_times])
            connection.commit()

    def copy(connection: psycopg.Connection[object]) -> None:
        for _ in range(repeats):
            with connection.cursor().copy(COPY) as copying:
                for row in make_notifications(f"copy{next(keys)}", many):
                    payload = json.dumps(row.payload)
                    copying.write_row((row.key, 1, row.kind, row.recipient, payload, row.due_at, row.due_at))
            connection.commit()

    def one_round() -> None:
        with closing(psycopg.connect(read_model.psycopg_url)) as connection:
            paired.add("INSERT … SELECT unnest", per_second(many * repeats, lambda: unnest(connection)))
            paired.add("schedule_many", per_second(many * repeats, schedule_many))
            paired.add("COPY", per_second(many * repeats, lambda: copy(connection)))

    benchmark.pedantic(one_round, rounds=size.pick(1, 3, 5))

    assert read_model.pending() == 3 * many * repeats * len(paired.figures["COPY"])
    findings.table(
        ["a thousand in one transaction", "rows a second"],
        [(name, round(paired.median(name))) for name in paired.figures],
    )
    of_unnest, of_copy = (paired.ratio("schedule_many", other) for other in ("INSERT … SELECT unnest", "COPY"))
    findings.conclude(
        f"schedule_many writes {of_unnest:.0%} of what INSERT … SELECT unnest does, and {of_copy:.0%} of COPY, which "
        "cannot replace an older revision"
    )


@pytest.mark.benchmark(group="What does schedule() add to a transaction with ten reminders?")
def test_create_an_event(make_bench: MakeBench, benchmark: BenchmarkFixture, findings: Findings, size: Size) -> None:
    calls, paired = size.pick(5, 50, 200), PairedFigures()
    benches = [make_bench(name) for name in DESIGNS]
    users = benches[0].add_users(10)
    numbers = count(1)
    for bench in benches:
        bench.take_event_ids_from(numbers)

    def one_round() -> None:
        for bench in benches:
            due_at = system_clock() + FAR
            each = per_second(calls, lambda: [bench.create_event(due_at, users) for _ in range(calls)])  # noqa: B023
            paired.add(bench.design.name, 1000 / each)

    benchmark.pedantic(one_round, rounds=size.pick(1, 3, 5))

    for bench in benches[1:]:
        assert bench.pending() == calls * 10 * len(paired.figures[bench.design.name])
    findings.table(["design", "ms a transaction"], [(name, round(paired.median(name), 2)) for name in paired.figures])
    poller = DESIGNS[0]
    added = {name: paired.median(name) - paired.median(poller) for name in DESIGNS[1:]}
    findings.conclude(
        f"ten reminders add {added['push_readmodel']:.1f} ms to a transaction of {paired.median(poller):.1f} ms "
        f"through the read model, and {added['oban_style_queue']:.1f} ms through the queue; the poller's does nothing"
    )
