"""The Celery application. Start a worker with ``celery -A celeryapp worker``."""

import json
import os
from urllib.request import Request, urlopen

from celery import Celery


def post(key, revision, retries):
    body = {"key": key, "revision": revision, "worker": os.environ["DUETIME_WORKER"], "attempt": retries + 1}
    urlopen(Request(os.environ["DUETIME_GATEWAY_URL"], json.dumps(body).encode())).close()


app = Celery("notifications", config_source="celeryconfig")


@app.task(name="deliver", bind=True, ignore_result=True)
def deliver(self, key, revision):
    post(key, revision, self.request.retries)
