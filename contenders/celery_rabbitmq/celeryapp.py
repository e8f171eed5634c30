"""The Celery application. Start a worker with ``celery -A celeryapp worker``."""

from celery import Celery
from post import post

app = Celery("notifications", config_source="celeryconfig")


@app.task(name="deliver", bind=True, ignore_result=True)
def deliver(self, key, revision):
    post(key, revision, self.request.retries)
