"""One broker: the one that ``DUETIME_BROKER_URL`` names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from duetime.errors import BadUsage

if TYPE_CHECKING:
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
