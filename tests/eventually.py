"""Wait for a condition in a test."""

from __future__ import annotations

import time
from collections.abc import Callable


def assert_eventually(
    condition: Callable[[], object],
    *,
    within_s: float = 20.0,
    every_s: float = 0.02,
    message: Callable[[], str] | None = None,
) -> None:
    """Fail unless `condition` becomes true within `within_s` seconds. message: makes the text of the failure."""
    give_up_at = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > give_up_at:
            raise AssertionError(message() if message else f"the condition did not become true within {within_s:g} s")
        time.sleep(every_s)
