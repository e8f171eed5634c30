"""The same application with retries, and with the recipe for tasks that a shutdown interrupts."""

import os

from delivery import send
from huey import RedisHuey
from huey.signals import SIGNAL_INTERRUPTED

huey = RedisHuey("duetime", url=os.environ["REDIS_URL"])


@huey.task(retries=20, retry_delay=1)
def deliver(key, revision):
    send(key, revision)


@huey.signal(SIGNAL_INTERRUPTED)
def enqueue_again(signal, task, *args, **kwargs):
    huey.enqueue(task)
