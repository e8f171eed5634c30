"""The worker: ``python worker.py [CLAIM_TIMEOUT CONCURRENCY]``. Its task sleeps until the notification is due."""

import json
import os
import signal
import sys
from datetime import datetime
from urllib.request import Request, urlopen

from absurd_sdk import Absurd

app = Absurd(os.environ["DUETIME_DATABASE_DSN"])


@app.register_task("deliver")
def deliver(params, ctx):
    ctx.sleep_until("due", datetime.fromisoformat(params["due_at"]))
    ctx.step("post", lambda: post(params["key"], params["revision"]))


def post(key, revision):
    body = {"key": key, "revision": revision, "worker": os.environ["DUETIME_WORKER"]}
    urlopen(Request(os.environ["DUETIME_GATEWAY_URL"], json.dumps(body).encode())).close()


if __name__ == "__main__":
    options = dict(zip(("claim_timeout", "concurrency"), map(int, sys.argv[1:]), strict=False))
    # "Call app.stop_worker() from a signal handler for graceful shutdown": its documentation.
    signal.signal(signal.SIGTERM, lambda *_: app.stop_worker())
    print("worker ready", flush=True)  # the library prints nothing at its start
    app.start_worker(worker_id=os.environ["DUETIME_WORKER"], **options)
