"""Reimbursed once accepted, and no sooner than 3 days after the purchase: the rule in three designs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, select
from sqlalchemy.orm import Session

from duetime.app.tables import Decision, Invoice
from examples.two_conditions.oban_style_queue import ASK_EVERY, Answer, AskAgain, Pay, decide
from examples.two_conditions.pull_worker import to_reimburse
from examples.two_conditions.push_readmodel import (
    EARLIEST_AFTER_PURCHASE,
    Claimed,
    Decided,
    DomainEvent,
    Reimbursed,
    handle,
    reimbursements,
)
from push_readmodel.scheduler import ReadModelScheduler
from push_readmodel.schema import metadata, pending

MONDAY = datetime(2030, 1, 7, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    metadata.create_all(engine)
    reimbursements.metadata.create_all(engine)
    with Session(engine) as session:
        yield session


def claimed(version: int = 1, *, purchased_at: datetime = MONDAY, payee: str = "a@b.example") -> Claimed:
    return Claimed(invoice=1, version=version, payee=payee, purchased_at=purchased_at)


def decided(accepted: bool, version: int = 1, *, decision: int = 1, at: datetime = MONDAY + DAY) -> Decided:
    return Decided(invoice=1, version=version, decision=decision, accepted=accepted, at=at)


def scheduled(session: Session, *events: DomainEvent) -> tuple[datetime, str] | None:
    """Return the due time and the payee of the scheduled reimbursement after these events."""
    for event in events:
        handle(event, notifications=ReadModelScheduler(), session=session)
        session.commit()
    row = session.execute(select(pending.c.due_at, pending.c.recipient)).one_or_none()
    return (row.due_at, row.recipient) if row else None


def test_an_invoice_accepted_the_next_day_is_paid_three_days_after_the_purchase(session: Session) -> None:
    assert scheduled(session, claimed(), decided(True)) == (MONDAY + EARLIEST_AFTER_PURCHASE, "a@b.example")


def test_an_invoice_accepted_late_is_paid_at_once(session: Session) -> None:
    late = MONDAY + 10 * DAY
    assert scheduled(session, claimed(), decided(True, at=late)) == (late, "a@b.example")


def test_an_invoice_is_not_paid_before_it_is_accepted_or_after_it_is_rejected(session: Session) -> None:
    assert scheduled(session, claimed()) is None
    assert scheduled(session, decided(True)) is not None
    assert scheduled(session, decided(False, decision=2)) is None


def test_an_amended_invoice_must_be_accepted_again(session: Session) -> None:
    assert scheduled(session, claimed(), decided(True), claimed(2, payee="c@d.example")) is None
    assert scheduled(session, decided(True, 2)) == (MONDAY + EARLIEST_AFTER_PURCHASE, "c@d.example")


def test_a_reimbursed_invoice_is_not_reimbursed_again_after_a_later_decision(session: Session) -> None:
    assert scheduled(session, claimed(), decided(True), Reimbursed(invoice=1)) is None
    assert scheduled(session, decided(True, decision=2), claimed(2), decided(True, 2)) is None


def expected(events: list[DomainEvent]) -> tuple[datetime, str] | None:
    """Apply the rule to the complete list of events."""
    versions = [event for event in events if isinstance(event, Claimed)]
    if not versions:
        return None
    newest = max(versions, key=lambda event: event.version)
    decisions = [event for event in events if isinstance(event, Decided) and event.version == newest.version]
    # A decision about a version whose Claimed has not arrived shows that the known version is outdated.
    outdated = any(isinstance(event, Decided) and event.version > newest.version for event in events)
    last = max(decisions, key=lambda event: event.decision, default=None)
    if Reimbursed(invoice=1) in events or outdated or last is None or not last.accepted:
        return None
    return max(last.at, newest.purchased_at + EARLIEST_AFTER_PURCHASE), newest.payee


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[DomainEvent], list[DomainEvent]]:
    """Generate the events of an invoice, and how they arrive: in any order, some twice, some not yet."""
    events: list[DomainEvent] = []
    for version in range(1, draw(st.integers(1, 3)) + 1):
        hours = st.integers(0, 200).map(lambda number: MONDAY + timedelta(hours=number))
        events.append(claimed(version, purchased_at=draw(hours), payee=f"{version}@b.example"))
        events += [
            decided(draw(st.booleans()), version, decision=decision, at=draw(hours))
            for decision in range(1, draw(st.integers(0, 3)) + 1)
        ]
    if draw(st.integers(0, 4)) == 0:
        events.append(Reimbursed(invoice=1))
    arrived = draw(st.lists(st.sampled_from(events), min_size=1, max_size=2 * len(events)))
    return events, [*draw(st.permutations([*arrived, *events]))] if draw(st.booleans()) else arrived


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories())
def test_the_result_does_not_depend_on_the_order_or_repetition_of_events(
    session: Session, history: tuple[list[DomainEvent], list[DomainEvent]]
) -> None:
    session.execute(delete(reimbursements))
    session.execute(delete(pending))
    _, arrived = history

    assert scheduled(session, *arrived) == expected(arrived)


def test_the_poller_finds_the_invoices_to_reimburse_in_the_main_tables(session: Session) -> None:
    def add(number: int, *, version: int = 1, purchased_at: datetime = MONDAY, **decisions: bool) -> None:
        session.add(Invoice(id=number, version=version, purchased_at=purchased_at, payee="a@b.example"))
        session.flush()
        for count, (name, accepted) in enumerate(decisions.items(), start=1):
            about = int(name[1:2])
            session.add(
                Decision(invoice_id=number, version=about, number=count, accepted=accepted, decided_at=MONDAY + DAY)
            )
        session.commit()

    add(1, v1_yes=True)
    add(2, v1_yes=True, v1_no=False)
    add(3, v1_no=False, v1_yes=True)
    add(4, version=2, v1_yes=True)
    add(5, purchased_at=MONDAY + DAY, v1_yes=True)
    add(6)

    assert to_reimburse(session, now=MONDAY + EARLIEST_AFTER_PURCHASE - timedelta(microseconds=1)) == []
    assert [invoice.id for invoice in to_reimburse(session, now=MONDAY + EARLIEST_AFTER_PURCHASE)] == [1, 3]


def test_the_queue_asks_again_until_the_invoice_is_accepted() -> None:
    thursday = MONDAY + EARLIEST_AFTER_PURCHASE

    assert decide(Answer(purchased_at=MONDAY, accepted=True), now=MONDAY) == AskAgain(thursday)
    assert decide(Answer(purchased_at=MONDAY, accepted=None), now=thursday) == AskAgain(thursday + ASK_EVERY)
    assert decide(Answer(purchased_at=MONDAY, accepted=False), now=thursday) == AskAgain(thursday + ASK_EVERY)
    assert decide(Answer(purchased_at=MONDAY, accepted=True), now=thursday + ASK_EVERY) == Pay()
    assert decide(None, now=thursday) is None
