"""The same rule for a queue: a job that asks, and schedules itself again while the answer is "not yet".

Nothing tells it that the supervisor has accepted, so it looks as often as one is willing to wait: each invoice that
nobody decides costs a job a day, for ever, and one that is accepted is reimbursed up to a day late.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

NO_SOONER = timedelta(days=3)
ASK_EVERY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the invoices' module says when it is asked. accepted: None while nobody has decided."""

    purchased_at: datetime
    accepted: bool | None


@dataclass(frozen=True, slots=True)
class Pay:
    """Reimburse now."""


@dataclass(frozen=True, slots=True)
class AskAgain:
    """Publish this job once more, with this ETA."""

    at: datetime


def decide(answer: Answer | None, *, now: datetime) -> Pay | AskAgain | None:
    """What the job does; None to end without paying, because the invoice is gone.

    A rejected one may yet be amended and accepted, so that is no end either.
    """
    if answer is None:
        return None
    if (earliest := answer.purchased_at + NO_SOONER) > now:
        return AskAgain(earliest)
    return Pay() if answer.accepted else AskAgain(now + ASK_EVERY)
