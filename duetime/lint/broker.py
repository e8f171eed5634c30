"""The broker options of an application, as kombu's Redis transport applies them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from celery import Celery

from duetime.lint.transport import transport

SWEEP_INTERVAL_S, SWEEP_EVERY = 10, 10  # kombu's defaults; options since kombu 5.7


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisBroker:
    """A Redis or Valkey broker, and when kombu restores unacknowledged messages.

    sweep: the time between two checks for messages older than the visibility timeout.
    identity: two applications with the same identity share one set of unacknowledged messages.
    """

    visibility_timeout: timedelta
    is_default: bool
    sweep: timedelta
    identity: tuple[str, ...]


def redis_broker(app: Celery) -> RedisBroker | None:
    """Return the broker that the workers of `app` read from.

    None if kombu's Redis transport is not used, or if one of these options is not a number: then no worker starts, and
    `number_rules` has a finding.
    """
    if transport(app).driver != "redis":
        return None
    from kombu.transport.redis import Channel  # needs libraries that other transports do not

    with app.connection_for_read() as connection:  # created, not opened
        options = connection.transport_options or {}
        timeout = _seconds(options, "visibility_timeout", Channel.visibility_timeout)
        interval = _seconds(options, "unacked_restore_interval", SWEEP_INTERVAL_S)
        throttle = _seconds(options, "unacked_restore_throttle", SWEEP_EVERY)
        if timeout is None or interval is None or throttle is None:
            return None
        return RedisBroker(
            visibility_timeout=timeout,
            is_default="visibility_timeout" not in options,
            # kombu treats an interval of 0 as its default, and a throttle of 0 as 1.
            sweep=(interval or timedelta(seconds=SWEEP_INTERVAL_S)) * (throttle.total_seconds() or 1),
            identity=(
                connection.hostname or "localhost",
                str(connection.port or connection.transport.default_port),
                str(connection.virtual_host or "0").strip("/") or "0",
                str(options.get("global_keyprefix", "")),
                str(options.get("unacked_index_key", Channel.unacked_index_key)),
            ),
        )


def _seconds(options: dict[str, object], name: str, default: float) -> timedelta | None:
    value = options.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return timedelta(seconds=max(value, 0))
