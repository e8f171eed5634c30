"""The application, which ``chancy --app worker.chancy worker start`` names, and its job."""

import json
import os
from urllib.request import Request, urlopen

from chancy import Chancy, QueuedJob, job

chancy = Chancy(os.environ["DUETIME_DATABASE_DSN"])


@job()
def deliver(*, key, revision, context: QueuedJob):
    body = {
        "key": key,
        "revision": revision,
        "worker": os.environ["DUETIME_WORKER"],
        "attempt": context.attempts + 1,
    }
    urlopen(Request(os.environ["DUETIME_GATEWAY_URL"], json.dumps(body).encode())).close()
