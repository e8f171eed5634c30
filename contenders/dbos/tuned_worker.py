"""The worker with retries, a limit of workflows at a time, a faster poll, and an orderly end."""

import signal
import threading

from dbos import DBOS
from post import config, post

step = DBOS.step(retries_allowed=True, max_attempts=20, backoff_rate=1.2)(post)


@DBOS.workflow()
def deliver(notification):
    step(notification)


if __name__ == "__main__":
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    DBOS(config=config())
    DBOS.launch()
    DBOS.register_queue("notifications", worker_concurrency=50, polling_interval_sec=0.1)
    print("worker ready", flush=True)
    stop.wait()
    DBOS.destroy(workflow_completion_timeout_sec=5)
