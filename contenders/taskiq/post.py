"""The delivery, for both applications."""

import json
import os
from urllib.request import Request, urlopen


def post(key, revision):
    body = {"key": key, "revision": revision, "worker": os.environ["DUETIME_WORKER"]}
    urlopen(Request(os.environ["DUETIME_GATEWAY_URL"], json.dumps(body).encode())).close()
