"""The task, which delivers a notification. A schedule names it as ``tasks.deliver``."""

import json
import os
from urllib.request import Request, urlopen


def deliver(key, revision):
    body = {"key": key, "revision": revision, "worker": os.environ["DUETIME_WORKER"]}
    urlopen(Request(os.environ["DUETIME_GATEWAY_URL"], json.dumps(body).encode())).close()
