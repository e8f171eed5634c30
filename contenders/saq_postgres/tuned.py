"""The tuned worker: ``saq tuned.settings``. The client gives each job its retries."""

import jobs

settings = {
    **jobs.settings,
    "timers": {"sweep": 3},
    "poll_interval": 0.2,  # instead of a look for due jobs every second
    "shutdown_grace_period_s": 2,
}
