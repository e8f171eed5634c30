"""The worker with short heartbeats, and retries that are spread."""

import asyncio
import os

from chancy import Chancy, Worker
from chancy.plugins.leadership import Leadership
from chancy.plugins.recovery import Recovery
from chancy.plugins.retry import RetryPlugin

PLUGINS = [Leadership(poll_interval=1, timeout=3), Recovery(poll_interval=1), RetryPlugin()]


async def main():
    async with (
        Chancy(os.environ["DUETIME_DATABASE_DSN"], plugins=PLUGINS) as chancy,
        # After an error of the database it waits for up to 2 s instead of 60 s.
        Worker(chancy, heartbeat_poll_interval=1, heartbeat_timeout=3, backoff_max=2) as worker,
    ):
        # A finished job is recorded after 0.1 s instead of 1 s.
        worker.send_outgoing_interval = 0.1
        await worker.wait_for_shutdown()


if __name__ == "__main__":
    asyncio.run(main())
