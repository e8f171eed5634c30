"""The transport of an application: which of kombu's modules speaks to the broker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def others(app: Celery) -> Sequence[str]:
    """Return the transports of the other broker URLs: alternates, and those that only clients write to."""
    conf = app.conf
    names = {_scheme(url) for url in [*_urls(conf.broker_read_url), *_urls(conf.broker_write_url)]}
    return [] if conf.broker_transport else sorted(names - {_name(app)})


def _name(app: Celery) -> str:
    urls = _urls(app.conf.broker_read_url)
    return str(app.conf.broker_transport or _scheme(urls[0] if urls else ""))


def _urls(setting: object) -> Sequence[str]:
    found = [setting] if isinstance(setting, str) else setting if isinstance(setting, list | tuple) else []
    return [url for text in found for url in str(text).split(";")]


def _scheme(url: str) -> str:
    return url.partition("://")[0].partition("+")[0] if "://" in url else "amqp"
