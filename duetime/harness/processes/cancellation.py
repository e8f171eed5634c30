"""The signal that ends every wait of a run."""

from __future__ import annotations

import threading
import time

from duetime.errors import Interrupted


class CancelToken:
    """Set once, when Ctrl-C or SIGTERM ends the command."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    def sleep(self, seconds: float) -> None:
        """Sleep for `seconds`, or until the token is set.

        Raises:
            Interrupted: the token is set.
        """
        if self._event.wait(max(0.0, seconds)):
            raise Interrupted("the run was stopped before its end")

    def sleep_until(self, mono_ns: int) -> None:
        """Sleep until ``time.monotonic_ns()`` reaches `mono_ns`."""
        self.sleep((mono_ns - time.monotonic_ns()) / 1e9)
