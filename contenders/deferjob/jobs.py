"""The job. ``deferjob worker --app jobs:jobs`` runs it when it is due."""

import json
import os
from urllib.request import Request, urlopen

from deferjob import Defer, Job

jobs = Defer(os.environ["DUETIME_DATABASE_DSN"])


@jobs.job("deliver")
def deliver(job: Job) -> None:
    body = {**job.payload, "worker": os.environ["DUETIME_WORKER"], "attempt": job.attempts}
    urlopen(Request(os.environ["DUETIME_GATEWAY_URL"], json.dumps(body).encode())).close()
