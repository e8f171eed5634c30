"""Broker, schedule source and scheduler: ``taskiq worker tasks:broker``, ``taskiq scheduler tasks:scheduler``."""

import os

from post import post
from taskiq import TaskiqScheduler
from taskiq_redis import ListRedisScheduleSource, RedisStreamBroker

broker = RedisStreamBroker(url=os.environ["REDIS_URL"])
source = ListRedisScheduleSource(os.environ["REDIS_URL"])
scheduler = TaskiqScheduler(broker, [source])


@broker.task(task_name="deliver")
def deliver(key: str, revision: int) -> None:
    post(key, revision)
