"""The application: one task, which delivers a notification. ``huey_consumer tasks.huey`` starts its consumer."""

import os

from delivery import send
from huey import RedisHuey

huey = RedisHuey("duetime", url=os.environ["REDIS_URL"])


@huey.task()
def deliver(key, revision):
    send(key, revision)
