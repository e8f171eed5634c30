"""The same job with a pool and other intervals, for ``deferjob worker --app tuned_jobs:jobs --poll 0.5``."""

import os
from datetime import timedelta

from deferjob import Defer
from jobs import deliver
from psycopg_pool import ConnectionPool

pool = ConnectionPool(os.environ["DUETIME_DATABASE_DSN"], min_size=1, open=True)
jobs = Defer(
    connect=pool.connection,  # otherwise each step of a job opens a connection of its own
    reclaim_after=timedelta(seconds=3),  # 15 minutes by default; a delivery takes less than a second
    backoff=lambda _attempts: timedelta(seconds=1),  # a minute by default, then two, and so on
)
jobs.job("deliver")(deliver)
