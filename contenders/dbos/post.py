"""The delivery, which both workers make a step."""

import json
import os
from urllib.request import Request, urlopen

from dbos import DBOS


def post(notification):
    attempt = (DBOS.step_status.current_attempt or 0) + 1
    body = {**notification, "worker": os.environ["DUETIME_WORKER"], "attempt": attempt}
    urlopen(Request(os.environ["DUETIME_GATEWAY_URL"], json.dumps(body).encode())).close()


def config():
    return {
        "name": "notifications",
        "application_version": "1",
        "system_database_url": os.environ["DUETIME_DATABASE_DSN"],
        # Each worker its own, so that it recovers its own workflows, and not those of the others.
        "executor_id": os.environ["DUETIME_WORKER"],
    }
