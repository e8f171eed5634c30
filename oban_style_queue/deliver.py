"""What a worker does with one task: hand the copy that travelled with it to the gateway."""

from __future__ import annotations

from duetime.gateway import Gateway
from duetime.interface import Notification


def deliver_one(gateway: Gateway, notification: Notification, *, retries: int) -> None:
    """Deliver `notification` as it was when it was published; the queue knows nothing newer."""
    gateway.deliver(notification, attempt=retries + 1)
