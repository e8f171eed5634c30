"""What a server of the read model tells Prometheus: what it delivered, how late, and what the table looks like."""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from duetime.interface import Notification
from duetime.runtime.gateway import Gateway
from duetime.settings import Settings
from push_readmodel.status import status

LATE_S = (0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 60, 300, 3600)


class Table:
    """Asked at each scrape: figures of `duetime status`."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings = settings
        self._engine = engine

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            now = status(self._settings, self._engine)
        except SQLAlchemyError:
            return  # a gap in the curve is what an outage looks like
        yield GaugeMetricFamily("duetime_pending", "Notifications that are not delivered yet", value=now.pending or 0)
        yield GaugeMetricFamily(
            "duetime_oldest_late_seconds", "How long the oldest has been due", value=now.late_s or 0
        )
        yield GaugeMetricFamily("duetime_claimed", "Rows that servers hold", value=now.claimed or 0)
        yield GaugeMetricFamily("duetime_failed", "Rows that are to be tried again", value=now.failed or 0)
        yield GaugeMetricFamily("duetime_dead_rows", "Rows that wait for vacuum", value=now.dead_rows or 0)


class MeteredGateway:
    """Counts what `gateway` delivers, and measures how late it is by this server's clock; effects pass no gateway."""

    def __init__(self, gateway: Gateway, registry: CollectorRegistry) -> None:
        self._gateway = gateway
        self._delivered = Counter("duetime_deliveries", "Deliveries", ["kind", "outcome"], registry=registry)
        self._late = Histogram(
            "duetime_lateness_seconds", "Delivery minus due", ["kind"], buckets=LATE_S, registry=registry
        )

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        late_s = max(0.0, time.time() - notification.due_at.timestamp())
        try:
            self._gateway.deliver(notification, attempt=attempt)
        except Exception:
            self._delivered.labels(notification.kind, "failed").inc()
            raise
        self._late.labels(notification.kind).observe(late_s)
        self._delivered.labels(notification.kind, "delivered").inc()


def metered(gateway: Gateway, port: int, settings: Settings, engine: Engine) -> MeteredGateway:
    """`gateway`, measured; the figures are at http://127.0.0.1:`port`/metrics from now on."""
    registry = CollectorRegistry()
    registry.register(Table(settings, engine))
    # Nothing in it is for everybody's eyes: a proxy, or an agent on the host, is what may show it around.
    start_http_server(port, addr="127.0.0.1", registry=registry)
    return MeteredGateway(gateway, registry)
