"""The same application with a shorter heartbeat and backoff, and with dramatiq-abort, which the cookbook recommends.

A worker counts as dead 3 s after its last command instead of 60 s, and every fetch looks for dead workers instead of
one in a thousand. A mark that aborts a message must outlive the message: a delay lasts up to 7 days, retries go on for
about 30.
"""

import os

import dramatiq
from delivery import send
from dramatiq.brokers.redis import RedisBroker
from dramatiq_abort import Abortable
from dramatiq_abort.backends import RedisBackend

DAY_MS = 86_400_000

broker = RedisBroker(url=os.environ["REDIS_URL"], heartbeat_timeout=3_000, maintenance_chance=1_000_000)
broker.add_middleware(Abortable(backend=RedisBackend.from_url(os.environ["REDIS_URL"]), abort_ttl=40 * DAY_MS))
dramatiq.set_broker(broker)


@dramatiq.actor(min_backoff=1_000)
def deliver(key, revision):
    send(key, revision)
