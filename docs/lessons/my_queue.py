"""A queue with Celery's defaults: change its settings until no warning of the linter is about a crash."""

from celery import Celery

app = Celery("my_queue", broker="redis://localhost:6379/0")


@app.task
def deliver(key: str) -> None:
    """Deliver the notification of `key`."""
