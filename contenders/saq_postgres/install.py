"""Create SAQ's tables, as its queue does when it connects."""

import asyncio
import os

from saq import Queue


async def main():
    queue = Queue.from_url(os.environ["DUETIME_DATABASE_DSN"], min_size=1, max_size=1)
    await queue.connect()
    await queue.disconnect()


asyncio.run(main())
