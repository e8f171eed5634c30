"""The tuned application, for its clients too: start a worker with ``celery -A tuned worker --statedb=FILE``."""

import os

from celery import Celery
from post import post

app = Celery("notifications")
app.config_from_object(
    {
        "broker_url": os.environ["REDIS_URL"],
        "broker_transport": "celery_redis_plus.transport:Transport",
        # "Seconds before unacked messages are reclaimed", and how long a poll blocks
        "broker_transport_options": {"visibility_timeout": 5, "blocking_timeout": 1},
        # "a task that's already started executing will be retried in the event of … the worker instance being killed"
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
    }
)


# "Automatic retry for known exceptions": by default a task that raises is not repeated.
@app.task(name="deliver", bind=True, ignore_result=True, autoretry_for=(OSError,), retry_backoff=True, max_retries=10)
def deliver(self, key, revision):
    post(key, revision, self.request.retries)
