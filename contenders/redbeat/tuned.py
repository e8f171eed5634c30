"""The tuned application: ``celery -A tuned worker`` and ``celery -A tuned beat -S redbeat.RedBeatScheduler``."""

import os

from celery import Celery
from post import post

app = Celery("notifications", broker=os.environ["REDIS_URL"])
app.conf.update(
    redbeat_redis_url=os.environ["REDIS_URL"],
    # "The maximum number of seconds beat can sleep between checking the schedule", and before it asks for the lock
    # again. 300 s by default.
    beat_max_loop_interval=0.5,
    # "Unless refreshed the lock will expire after this time". 1500 s by default.
    redbeat_lock_timeout=5,
    # "retry the connection for retry_period seconds": by default beat ends when it has lost Redis.
    redbeat_redis_options={"retry_period": 60},
    # "a task that's already started executing will be retried in the event of … the worker instance being killed"
    task_acks_late=True,
    # Without it, "the worker will acknowledge tasks when the worker process executing them abruptly exits".
    task_reject_on_worker_lost=True,
    # "The visibility timeout defines the number of seconds to wait for the worker to acknowledge the task". An hour by
    # default. kombu looks every 10 s, at each tenth time; these two options are of kombu's module for Redis.
    broker_transport_options={
        "visibility_timeout": 3,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    },
    # How often a message that Redis does not take is sent again: 3 times within 0.6 s by default.
    task_publish_retry_policy={"max_retries": 20, "interval_start": 0.2, "interval_step": 0.2, "interval_max": 1},
)


# "Automatic retry for known exceptions": by default a task that raises is not repeated. A worker holds the message of
# a retry, so each must come within the visibility timeout.
@app.task(
    name="deliver",
    bind=True,
    ignore_result=True,
    autoretry_for=(OSError,),
    retry_backoff=True,
    retry_backoff_max=2,
    max_retries=20,
)
def deliver(self, key, revision):
    post(key, revision, self.request.retries)
