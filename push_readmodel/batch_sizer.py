"""The size of the next batch."""

from __future__ import annotations

from push_readmodel.drain_settings import BATCH_TIME_S


class BatchSizer:
    """Chooses how many rows the next batch may claim, so that their delivery takes about `BATCH_TIME_S`.

    The first batch is one row, because nothing is known of the gateway yet.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.limit = 1

    def record(self, rows: int, spent_s: float) -> None:
        """Set the next limit after the delivery of `rows` rows took `spent_s` seconds."""
        if rows:
            # A little less than the time allows, so that a batch is seldom cut short.
            fitting = int(0.8 * BATCH_TIME_S * rows / max(spent_s, 1e-6))
            self.limit = max(1, min(self._most, fitting))
