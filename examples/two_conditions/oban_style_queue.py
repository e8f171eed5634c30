"""The rule for a queue: a job that asks, and schedules itself again while the answer is "not yet".

The queue receives no events, so the job asks as often as a payment may be late. An invoice without a decision costs a
job a day without end, and an accepted invoice is reimbursed up to a day late.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from duetime.clock import utc

EARLIEST_AFTER_PURCHASE = timedelta(days=3)
ASK_EVERY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer of the invoices' module. accepted: None before a decision."""

    purchased_at: datetime
    accepted: bool | None


@dataclass(frozen=True, slots=True)
class Pay:
    """Reimburse now."""


@dataclass(frozen=True, slots=True)
class AskAgain:
    """Publish this job again with this ETA."""

    at: datetime


def decide(answer: Answer | None, *, now: datetime) -> Pay | AskAgain | None:
    """Decide what the job does; None ends it without a payment, because the invoice is gone.

    A rejected invoice does not end the job, because it may be amended and then accepted.
    """
    if answer is None:
        return None
    if (earliest := utc(answer.purchased_at) + EARLIEST_AFTER_PURCHASE) > now:
        return AskAgain(earliest)
    return Pay() if answer.accepted else AskAgain(utc(now) + ASK_EVERY)
