"""Prometheus metrics of a worker: its deliveries, their lateness, and the state of the table."""

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
from push_readmodel.status import figures_of_table

LATE_S = (0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 60, 300, 3600)


class TableCollector:
    """Reads the figures of `duetime status` at each scrape."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings = settings
        self._engine = engine

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            figures = figures_of_table(self._settings, self._engine)
        except SQLAlchemyError:
            return  # an outage shows as a gap in the curve
        yield GaugeMetricFamily("duetime_pending", "Notifications not delivered yet", value=figures.pending or 0)
        yield GaugeMetricFamily(
            "duetime_oldest_late_seconds", "Seconds since the oldest one became due", value=figures.late_s or 0
        )
        yield GaugeMetricFamily("duetime_claimed", "Rows that workers hold", value=figures.claimed or 0)
        yield GaugeMetricFamily("duetime_failed", "Rows that wait for a retry", value=figures.failed or 0)
        if figures.given_up is not None:  # the table can be read; 0 would be a comfort
            yield GaugeMetricFamily(
                "duetime_given_up", "Rows in failed_notifications, which nothing delivers", value=figures.given_up
            )
        yield GaugeMetricFamily("duetime_dead_rows", "Dead rows not vacuumed yet", value=figures.dead_rows or 0)


class MeteredGateway:
    """Counts the deliveries of `gateway`, and measures lateness by this worker's clock. Effects are not counted."""

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
        except BaseException:
            self._delivered.labels(notification.kind, "failed").inc()
            raise
        self._late.labels(notification.kind).observe(late_s)
        self._delivered.labels(notification.kind, "delivered").inc()


def metered(gateway: Gateway, port: int, settings: Settings, engine: Engine) -> MeteredGateway:
    """Return `gateway` with metrics, and serve them at http://127.0.0.1:`port`/metrics."""
    registry = CollectorRegistry()
    registry.register(TableCollector(settings, engine))
    # On loopback only: the metrics are not public. Expose them through a proxy or an agent on the host.
    start_http_server(port, addr="127.0.0.1", registry=registry)
    return MeteredGateway(gateway, registry)
