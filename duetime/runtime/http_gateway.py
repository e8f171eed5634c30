"""The gateway of a design of this project whose deliveries are HTTP requests, as those of libraries are."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

from duetime.runtime.gateway import JournalGateway
from duetime.settings import Settings

TIMEOUT_S = 30.0


class NotDelivered(Exception):
    """The gateway did not answer 204."""


class HttpGateway(JournalGateway):
    """Delivers with one POST, on a connection that stays open; docs/delivering.md describes the request."""

    def __init__(self, url: str, settings: Settings) -> None:
        super().__init__(settings.deliveries, worker=settings.worker, delivery_time=settings.delivery_time)
        address = urlsplit(url)
        self._path = address.path or "/"
        self._name = settings.worker
        self._connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=TIMEOUT_S)

    def record(self, key: str, revision: int, *, attempt: int, **more: int) -> None:
        """Let the gateway write the delivery's line.

        Raises:
            NotDelivered: it refused.
            OSError, http.client.HTTPException: it did not answer, so it may have been delivered.
        """
        body = json.dumps({"key": key, "revision": revision, "worker": self._name, "attempt": attempt, **more})
        try:
            self._connection.request("POST", self._path, body)
            answer = self._connection.getresponse()
            answer.read()
        except BaseException:
            # The next request opens it again.
            self._connection.close()
            raise
        if answer.status != http.client.NO_CONTENT:
            raise NotDelivered(f"the gateway answered {answer.status} {answer.reason} to {key}/{revision}")

    def close(self) -> None:
        self._connection.close()
        super().close()
