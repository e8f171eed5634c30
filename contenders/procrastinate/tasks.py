"""The application: one task, which delivers a notification. ``--app=tasks.app`` names it."""

import json
import os
from urllib.request import Request, urlopen

from procrastinate import App, PsycopgConnector

app = App(connector=PsycopgConnector())  # libpq's variables name the database


@app.task(name="deliver", pass_context=True)
def deliver(context, key, revision):
    body = {
        "key": key,
        "revision": revision,
        "worker": os.environ["DUETIME_WORKER"],
        "attempt": context.job.attempts + 1,
    }
    urlopen(Request(os.environ["DUETIME_GATEWAY_URL"], data=json.dumps(body).encode(), method="POST")).close()
