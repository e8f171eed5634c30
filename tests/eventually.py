"""Sleeper for a condition in a test."""

from __future__ import annotations

import time
from collections.abc import Callable


def assert_eventually(condition: Callable[[], object], *, within_s: float = 20.0) -> None:
    """Fail unless `condition` becomes true within `within_s` seconds."""
    give_up_at = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up_at, f"the condition did not become true within {within_s:g} s"
        time.sleep(0.02)
