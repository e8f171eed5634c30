"""The transport of an application: which of kombu's modules speaks to the broker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES, resolve_transport

DRIVERS = {
    "kombu.transport.pyamqp": "amqp",
    "kombu.transport.librabbitmq": "amqp",
    "kombu.transport.redis": "redis",
    "kombu.transport.SQS": "sqs",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """The transport that the workers of an application read from.

    name: as the broker URL writes it, for instance ``amqps``.
    driver: ``redis``, ``amqp``, or ``kombu.transport.X`` as ``X``; for a class of another package its path.
    options: the setting ``broker_transport_options``.
    """

    name: str
    driver: str
    options: Mapping[str, Any]


def transport(app: Celery) -> Transport:
    """Return the transport of `app`. Imports no library of a transport, because the linter may run without it.

    Raises:
        KeyError: kombu knows no transport of that name.
    """
    name = _name(app)
    path = TRANSPORT_ALIASES.get(name, name)
    if path == name and not {".", ":"} & set(name):
        resolve_transport(name)  # raises the KeyError that a worker raises
    module = path.replace(":", ".").rpartition(".")[0]
    in_kombu = module.startswith("kombu.transport.")
    driver = DRIVERS.get(module) or (module.removeprefix("kombu.transport.") if in_kombu else path)
    options = app.conf.broker_transport_options
    return Transport(name=name, driver=driver, options=options if isinstance(options, Mapping) else {})


def _name(app: Celery) -> str:
    url = app.conf.broker_read_url
    first = (url if isinstance(url, str) else next(iter(url or ()), "")).split(";")[0]
    scheme = first.partition("://")[0].partition("+")[0] if "://" in first else ""
    return str(app.conf.broker_transport or scheme or "amqp")
