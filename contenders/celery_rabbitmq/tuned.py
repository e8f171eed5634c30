"""The tuned application, for its clients too: start a worker with ``celery -A tuned worker --statedb=FILE``."""

from celery import Celery
from post import post

app = Celery("notifications", config_source="celeryconfig")
app.conf.update(
    # "a task that's already started executing will be retried in the event of … the worker instance being killed"
    task_acks_late=True,
    # Without it, "the worker will acknowledge tasks when the worker process executing them abruptly exits".
    task_reject_on_worker_lost=True,
    # "If you have many short-running tasks … this number should be large." A message comes up to a second before it is
    # due, and occupies its place until then.
    worker_prefetch_multiplier=64,
    # A worker's queue of commands outlives it, so that it receives the revokes that were sent while it was down. Then
    # it cannot be "exclusive to a single connection", and must not be deleted after 10 s without one, the default.
    control_queue_durable=True,
    control_queue_exclusive=False,
    control_queue_expires=86_400,
    control_queue_ttl=86_400,
)


# "Automatic retry for known exceptions": by default a task that raises is not repeated.
@app.task(name="deliver", bind=True, ignore_result=True, autoretry_for=(OSError,), retry_backoff=True, max_retries=10)
def deliver(self, key, revision):
    post(key, revision, self.request.retries)
