"""The same with retries, an earlier claim of the messages of dead workers, and a check before a schedule is sent."""

import os

from post import post
from redis.asyncio import Redis
from taskiq import SmartRetryMiddleware, TaskiqScheduler
from taskiq.exceptions import ScheduledTaskCancelledError
from taskiq_redis import ListRedisScheduleSource, RedisStreamBroker

URL = os.environ["REDIS_URL"]


class CheckedSource(ListRedisScheduleSource):
    """Cancels what was deleted since the scheduler has read it."""

    async def pre_send(self, task):
        async with Redis.from_url(URL) as redis:
            if not await redis.exists(f"schedule:data:{task.schedule_id}"):
                raise ScheduledTaskCancelledError


source = CheckedSource(URL)
broker = RedisStreamBroker(url=URL, idle_timeout=5_000).with_middlewares(
    SmartRetryMiddleware(default_delay=1, use_delay_exponent=True, schedule_source=source)
)
scheduler = TaskiqScheduler(broker, [source])


@broker.task(task_name="deliver", retry_on_error=True, max_retries=10)
def deliver(key: str, revision: int) -> None:
    post(key, revision)
