"""The Celery application. Start a worker with ``celery -A celeryapp worker``."""

import os

from celery import Celery
from post import post

app = Celery("notifications")
app.config_from_object(
    {
        "broker_url": os.environ["REDIS_URL"],
        "broker_transport": "celery_redis_plus.transport:Transport",
    }
)


@app.task(name="deliver", bind=True, ignore_result=True)
def deliver(self, key, revision):
    post(key, revision, self.request.retries)
