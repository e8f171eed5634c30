"""The worker, as in DBOS's example of a queue worker: it executes what is due until it is killed."""

import threading

from dbos import DBOS
from post import config, post

step = DBOS.step()(post)


@DBOS.workflow()
def deliver(notification):
    step(notification)


if __name__ == "__main__":
    DBOS(config=config())
    DBOS.launch()
    DBOS.register_queue("notifications")
    print("worker ready", flush=True)  # the library's log says so before it has the queue
    threading.Event().wait()
