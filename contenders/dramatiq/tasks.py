"""The application: a broker, and one actor. ``dramatiq tasks`` starts its workers."""

import os

import dramatiq
from delivery import send
from dramatiq.brokers.redis import RedisBroker

dramatiq.set_broker(RedisBroker(url=os.environ["REDIS_URL"]))


@dramatiq.actor
def deliver(key, revision):
    send(key, revision)
