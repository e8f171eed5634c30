"""Reimbursed after the supervisor accepts, no sooner than 3 days after the purchase: in three designs."""

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
from examples.two_conditions.push_readmodel import NO_SOONER, Claimed, Decided, Reimbursed, heard, reimbursements
from push_readmodel.scheduler import ReadModel
from push_readmodel.schema import metadata, pending

MONDAY = datetime(2030, 1, 7, 12, tzinfo=UTC)
DAY = timedelta(days=1)
Event = Claimed | Decided | Reimbursed


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


def scheduled(session: Session, *events: Event) -> tuple[datetime, str] | None:
    """When, and to whom, the read model pays after these events."""
    for event in events:
        heard(event, notifications=ReadModel(), session=session)
        session.commit()
    row = session.execute(select(pending.c.due_at, pending.c.recipient)).one_or_none()
    return (row.due_at, row.recipient) if row else None


def test_accepted_the_next_day_it_is_paid_three_days_after_the_purchase(session: Session) -> None:
    assert scheduled(session, claimed(), decided(True)) == (MONDAY + NO_SOONER, "a@b.example")


def test_accepted_late_it_is_paid_at_once(session: Session) -> None:
    late = MONDAY + 10 * DAY
    assert scheduled(session, claimed(), decided(True, at=late)) == (late, "a@b.example")


def test_before_it_is_accepted_and_after_it_is_rejected_nothing_is_paid(session: Session) -> None:
    assert scheduled(session, claimed()) is None
    assert scheduled(session, decided(True)) is not None
    assert scheduled(session, decided(False, decision=2)) is None


def test_an_amended_invoice_has_to_be_accepted_again(session: Session) -> None:
    assert scheduled(session, claimed(), decided(True), claimed(2, payee="c@d.example")) is None
    assert scheduled(session, decided(True, 2)) == (MONDAY + NO_SOONER, "c@d.example")


def test_what_was_reimbursed_is_not_reimbursed_again_whatever_is_decided(session: Session) -> None:
    assert scheduled(session, claimed(), decided(True), Reimbursed(invoice=1)) is None
    assert scheduled(session, decided(True, decision=2), claimed(2), decided(True, 2)) is None


def expected(events: list[Event]) -> tuple[datetime, str] | None:
    """The rule in one breath, over everything that was said."""
    versions = [event for event in events if isinstance(event, Claimed)]
    if not versions:
        return None
    newest = max(versions, key=lambda event: event.version)
    decisions = [event for event in events if isinstance(event, Decided) and event.version == newest.version]
    # A decision about a version that nobody has heard of is news of that version.
    unheard = any(isinstance(event, Decided) and event.version > newest.version for event in events)
    last = max(decisions, key=lambda event: event.decision, default=None)
    if Reimbursed(invoice=1) in events or unheard or last is None or not last.accepted:
        return None
    return max(last.at, newest.purchased_at + NO_SOONER), newest.payee


@st.composite
def stories(draw: st.DrawFn) -> tuple[list[Event], list[Event]]:
    """What was said about an invoice, and how it arrives: in any order, some of it again, some of it lost so far."""
    said: list[Event] = []
    for version in range(1, draw(st.integers(1, 3)) + 1):
        hours = st.integers(0, 200).map(lambda number: MONDAY + timedelta(hours=number))
        said.append(claimed(version, purchased_at=draw(hours), payee=f"{version}@b.example"))
        said += [
            decided(draw(st.booleans()), version, decision=decision, at=draw(hours))
            for decision in range(1, draw(st.integers(0, 3)) + 1)
        ]
    if draw(st.integers(0, 4)) == 0:
        said.append(Reimbursed(invoice=1))
    arrived = draw(st.lists(st.sampled_from(said), min_size=1, max_size=2 * len(said)))
    return said, [*draw(st.permutations([*arrived, *said]))] if draw(st.booleans()) else arrived


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=stories())
def test_whatever_the_order_and_however_often_the_end_is_the_same(
    session: Session, story: tuple[list[Event], list[Event]]
) -> None:
    session.execute(delete(reimbursements))
    session.execute(delete(pending))
    _, arrived = story

    assert scheduled(session, *arrived) == expected(arrived)


def test_the_poller_joins_the_tables_of_three_modules(session: Session) -> None:
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

    assert to_reimburse(session, now=MONDAY + NO_SOONER - timedelta(microseconds=1)) == []
    assert [invoice.id for invoice in to_reimburse(session, now=MONDAY + NO_SOONER)] == [1, 3]


def test_the_queue_asks_again_until_somebody_has_decided() -> None:
    thursday = MONDAY + NO_SOONER

    assert decide(Answer(purchased_at=MONDAY, accepted=True), now=MONDAY) == AskAgain(thursday)
    assert decide(Answer(purchased_at=MONDAY, accepted=None), now=thursday) == AskAgain(thursday + ASK_EVERY)
    assert decide(Answer(purchased_at=MONDAY, accepted=False), now=thursday) == AskAgain(thursday + ASK_EVERY)
    assert decide(Answer(purchased_at=MONDAY, accepted=True), now=thursday + ASK_EVERY) == Pay()
    assert decide(None, now=thursday) is None
