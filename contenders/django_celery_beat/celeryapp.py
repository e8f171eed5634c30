"""The Celery application of the Django project, as Celery's "First steps with Django" has it."""

import json
import os
from urllib.request import Request, urlopen

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "djangosettings")
app = Celery("notifications")
app.config_from_object("django.conf:settings", namespace="CELERY")


@app.task(name="deliver", bind=True, ignore_result=True)
def deliver(self, key, revision):
    body = {
        "key": key,
        "revision": revision,
        "worker": os.environ["DUETIME_WORKER"],
        "attempt": self.request.retries + 1,
    }
    urlopen(Request(os.environ["DUETIME_GATEWAY_URL"], json.dumps(body).encode())).close()
