"""The application's main tables, which the rest of the business also reads and writes."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, DateTime, ForeignKey, Identity, Index, String, Text, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """The base class of all tables of the application."""


class User(Base):
    """A user, who can take part in events."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    name: Mapped[str]
    address: Mapped[str]
    locale: Mapped[str] = mapped_column(default="en")
    balance_cents: Mapped[int] = mapped_column(default=0, server_default="0")


class Event(Base):
    """An appointment, with the columns that other parts of the business use."""

    __tablename__ = "events"
    # With this index the poller's query costs as little as the read model's.
    __table_args__ = (Index("events_by_start", "starts_at"),)

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    title: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    starts_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    ends_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    time_zone: Mapped[str] = mapped_column(default="UTC")
    location: Mapped[str] = mapped_column(default="")
    organiser: Mapped[str] = mapped_column(default="")
    status: Mapped[str] = mapped_column(String(20), default="scheduled")
    capacity: Mapped[int] = mapped_column(default=50)
    price_cents: Mapped[int] = mapped_column(default=0)
    currency: Mapped[str] = mapped_column(String(3), default="EUR")
    visibility: Mapped[str] = mapped_column(String(20), default="public")
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    participations: Mapped[list[Participation]] = relationship(back_populates="event", order_by="Participation.user_id")


class Participation(Base):
    """One user's participation in one event.

    reminder_revision: counts the changes to this user's reminder for this event, cancels included.
    """

    __tablename__ = "participations"

    event_id: Mapped[int] = mapped_column(ForeignKey("events.id"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True, index=True)
    status: Mapped[str] = mapped_column(String(20), default="going")
    reminder_revision: Mapped[int] = mapped_column(default=0)

    event: Mapped[Event] = relationship(back_populates="participations")
    user: Mapped[User] = relationship()


class FollowUpSubject(Base):
    """A row with a follow-up.

    status: ``open`` until the follow-up happens or is cancelled.
    revision: counts the changes to the follow-up, cancels included.
    """

    __abstract__ = True

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    began_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    status: Mapped[str] = mapped_column(String(20))
    revision: Mapped[int]


class Trial(FollowUpSubject):
    """A trial; it ends 14 days after the sign-up unless the user upgrades."""

    __tablename__ = "trials"


class Purchase(FollowUpSubject):
    """A purchase; one month later the user is asked for a review unless it was refunded."""

    __tablename__ = "purchases"


class Reservation(FollowUpSubject):
    """A reservation; it is cancelled unless the guest is seated within 15 minutes."""

    __tablename__ = "reservations"


class Errand(FollowUpSubject):
    """A paid errand; the wage is due three days later unless the client complains."""

    __tablename__ = "errands"


class Order(FollowUpSubject):
    """An order; it is cancelled unless it is paid within 48 hours."""

    __tablename__ = "orders"


class Effect(Base):
    """The log of effects inside the database: one row for each execution."""

    __tablename__ = "effects"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    op: Mapped[str] = mapped_column(Text)
    worker: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())


class Invoice(Base):
    """An invoice that a user paid for the company; reimbursed after a supervisor accepts it.

    version: starts at 1 and rises with each amendment.
    """

    __tablename__ = "invoices"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    version: Mapped[int] = mapped_column(default=1)
    purchased_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    payee: Mapped[str]
    reimbursed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Decision(Base):
    """A supervisor's decision about one version of an invoice. number: rises when the decision is changed."""

    __tablename__ = "decisions"

    invoice_id: Mapped[int] = mapped_column(ForeignKey("invoices.id"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    accepted: Mapped[bool]
    decided_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
