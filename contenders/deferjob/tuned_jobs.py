"""The same job with other intervals, for ``deferjob worker --app tuned_jobs:jobs --poll 0.5``."""

import os
from datetime import timedelta

from deferjob import Defer
from jobs import deliver

jobs = Defer(
    os.environ["DUETIME_DATABASE_DSN"],
    reclaim_after=timedelta(seconds=3),  # 15 minutes by default; a delivery takes less than a second
    backoff=lambda _attempts: timedelta(seconds=1),  # a minute by default, then two, and so on
)
jobs.job("deliver")(deliver)
