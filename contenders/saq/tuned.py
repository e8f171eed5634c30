"""The tuned worker: ``saq tuned.settings``. The client gives each job its retries."""

import jobs

settings = {
    **jobs.settings,
    # While a worker sweeps, which takes 5 s for each stuck job, no other one should.
    "timers": {"sweep": 10},
    "shutdown_grace_period_s": 2,
}
