"""Executes one task: passes the notification inside the message to the gateway, or to the database."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Engine

from duetime.interface import Notification
from duetime.runtime.effects import NO_EFFECTS, Effects
from duetime.runtime.gateway import Gateway


def deliver_one(
    gateway: Gateway,
    notification: Notification,
    *,
    retries: int,
    effects: Effects = NO_EFFECTS,
    engine: Callable[[], Engine] | None = None,
) -> None:
    """Deliver `notification` as it was when it was published; the queue knows no newer revision.

    engine: returns the application's database, for an effect inside it. The effect has a transaction of its own,
    because the broker, which holds the message, cannot take part in one.
    """
    effect = effects.of(notification)
    if effect and engine:
        with engine().begin() as connection:
            connection.exec_driver_sql(*effect)
    else:
        gateway.deliver(notification, attempt=retries + 1)
