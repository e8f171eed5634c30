"""What the task does: deliver one notification to the gateway."""

import json
import os
from urllib.request import Request, urlopen


def send(key, revision):
    body = {"key": key, "revision": revision, "worker": os.environ["DUETIME_WORKER"]}
    urlopen(Request(os.environ["DUETIME_GATEWAY_URL"], json.dumps(body).encode())).close()
