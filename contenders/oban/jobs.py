"""The worker: ``oban start --cron-modules jobs`` imports it before the first job."""

import asyncio
import json
import os
from http.client import HTTPConnection
from urllib.parse import urlsplit

from oban import Cancel, worker


@worker(queue="default")
class Deliver:
    async def process(self, job):
        if job.cancelled():
            return Cancel("replaced or cancelled")
        return await asyncio.to_thread(post, job)


if "RETRY_AFTER_S" in os.environ:
    # Instead of 17 s after the first failure, and ever longer.
    Deliver.backoff = lambda _self, _job: int(os.environ["RETRY_AFTER_S"])


def post(job):
    notification = {"key": job.args["key"], "revision": job.args["revision"]}
    body = {**notification, "worker": os.environ["DUETIME_WORKER"], "attempt": job.attempt}
    # Not urlopen(): each of the first ten, side by side, would load the certificates of this machine.
    gateway = urlsplit(os.environ["DUETIME_GATEWAY_URL"])
    connection = HTTPConnection(gateway.netloc)
    try:
        connection.request("POST", gateway.path, json.dumps(body))
        if (status := connection.getresponse().status) != 204:
            raise RuntimeError(f"the gateway answered {status}")
    finally:
        connection.close()
