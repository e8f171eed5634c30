"""What kombu's Redis transport will do with an application's broker options."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from celery import Celery
from kombu.transport.redis import Channel

from duetime.errors import BadUsage

SWEEP_INTERVAL_S, SWEEP_EVERY = 10, 10  # kombu's own; before 5.7 they were no options


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisBroker:
    """A Redis or Valkey, and how soon kombu takes back what a worker does not acknowledge.

    sweep: between two looks at what has outlived the visibility timeout, so how much later it may be.
    place: two applications with the same place share one set of unacknowledged messages.
    """

    visibility_timeout: timedelta
    is_default: bool
    sweep: timedelta
    place: tuple[str, ...]


def redis_broker(app: Celery) -> RedisBroker | None:
    """The broker that `app`'s workers read from, if kombu's own Redis transport serves it."""
    with app.connection_for_read() as connection:  # made, not opened
        if connection.transport.driver_type != "redis":
            return None
        options = connection.transport_options or {}
        interval = _seconds(options, "unacked_restore_interval", SWEEP_INTERVAL_S)
        throttle = _seconds(options, "unacked_restore_throttle", SWEEP_EVERY)
        return RedisBroker(
            visibility_timeout=_seconds(options, "visibility_timeout", Channel.visibility_timeout),
            is_default="visibility_timeout" not in options,
            # kombu reads an interval of 0 as its default, and a throttle of 0 as 1.
            sweep=(interval or timedelta(seconds=SWEEP_INTERVAL_S)) * (throttle.total_seconds() or 1),
            place=(
                connection.hostname or "localhost",
                str(connection.port or connection.transport.default_port),
                str(connection.virtual_host or "0").strip("/") or "0",
                str(options.get("global_keyprefix", "")),
                str(options.get("unacked_index_key", Channel.unacked_index_key)),
            ),
        )


def _seconds(options: dict[str, object], name: str, default: float) -> timedelta:
    value = options.get(name, default)
    try:
        length = timedelta(seconds=float(value))  # type: ignore[arg-type]  # what is no number is answered below
    except (TypeError, ValueError, OverflowError):
        length = timedelta(-1)
    if length < timedelta(0):
        raise BadUsage(f"broker_transport_options[{name!r}] is {value!r}; write a number of seconds, 0 or more")
    return length
