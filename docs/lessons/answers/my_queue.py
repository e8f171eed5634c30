"""The same queue: what a crash interrupts comes back, within minutes and not an hour."""

from celery import Celery

app = Celery("my_queue", broker="redis://localhost:6379/0")
# Acknowledged at its end, also if only its pool process was killed.
app.conf.task_acks_late = True
app.conf.task_reject_on_worker_lost = True
# How long the broker waits for a dead worker. Each ETA must be sooner, or its message is delivered again and again.
app.conf.broker_transport_options = {"visibility_timeout": 300}


@app.task
def deliver(key: str) -> None:
    """Deliver the notification of `key`, if the database says that it is still wanted."""
