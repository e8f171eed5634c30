"""The application: ``celery -A celeryapp worker`` and ``celery -A celeryapp beat -S redbeat.RedBeatScheduler``."""

import os

from celery import Celery
from post import post

app = Celery("notifications", broker=os.environ["REDIS_URL"])
app.conf.redbeat_redis_url = os.environ["REDIS_URL"]


@app.task(name="deliver", bind=True, ignore_result=True)
def deliver(self, key, revision):
    post(key, revision, self.request.retries)
