"""One broker: the one that ``DUETIME_BROKER_URL`` names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from duetime.errors import BadUsage
from duetime.urls import redis_url

if TYPE_CHECKING:
    import redis

    from duetime.settings import Settings

OVERRIDES = (
    *("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"),
    # Of the option --broker of Celery's command line.
    *("CELERY_BROKER", "BROKER_URL"),
)
"""Variables that Celery prefers to the broker that an application names."""


def check_broker(app: Any, settings: Settings) -> None:
    """Refuse a Celery application that would use another broker than the one in `settings`.

    Raises:
        BadUsage: a variable of `OVERRIDES`, or the module in CELERY_CONFIG_MODULE, names another one.
    """
    if {app.conf.broker_read_url, app.conf.broker_write_url} != {settings.broker_url}:
        causes = [name for name in (*OVERRIDES, "CELERY_CONFIG_MODULE", "CELERY_LOADER") if os.environ.get(name)]
        raise BadUsage(
            f"{' or '.join(causes)} gives Celery another broker than DUETIME_BROKER_URL; unset it, or give both the "
            "same broker"
        )


def broker_client(settings: Settings, **options: Any) -> redis.Redis:
    """Return a client of the Redis or Valkey in `settings`: of the primary, where Sentinel says which one that is.

    Raises:
        BadUsage: `broker_url` names another kind of broker.
    """
    import redis
    from redis import sentinel

    if not settings.broker_primary:
        return redis.Redis.from_url(redis_url(settings.broker_url), **options)
    addresses = [urlsplit(url) for url in settings.broker_url.split(";")]
    make_sentinels: Any = sentinel.Sentinel  # redis-py does not type it
    sentinels = make_sentinels([(address.hostname, address.port) for address in addresses], **options)
    primary: redis.Redis = sentinels.master_for(settings.broker_primary)
    return primary
