"""The delivery. Not in ``celeryapp``: a task of an application is shared with every other one of its process."""

import json
import os
from urllib.request import Request, urlopen


def post(key, revision, retries):
    body = {"key": key, "revision": revision, "worker": os.environ["DUETIME_WORKER"], "attempt": retries + 1}
    urlopen(Request(os.environ["DUETIME_GATEWAY_URL"], json.dumps(body).encode())).close()
