"""The application's main tables: what the rest of the business reads and writes all day."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, DateTime, ForeignKey, Index, String, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """Everything that the application keeps."""


class User(Base):
    """Somebody who can take part in events."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    name: Mapped[str]
    address: Mapped[str]
    locale: Mapped[str] = mapped_column(default="en")


class Event(Base):
    """An appointment, with the columns that other parts of the business use."""

    __tablename__ = "events"
    # The poller's honest defence: with this index its query costs as little as the read model's.
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
    """One user's place in one event.

    reminder_revision: counts the changes to this user's reminder for this event, cancels included.
    """

    __tablename__ = "participations"

    event_id: Mapped[int] = mapped_column(ForeignKey("events.id"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True, index=True)
    status: Mapped[str] = mapped_column(String(20), default="going")
    reminder_revision: Mapped[int] = mapped_column(default=0)

    event: Mapped[Event] = relationship(back_populates="participations")
    user: Mapped[User] = relationship()
