"""Create Chancy's tables, as ``chancy misc migrate`` does, and its queue."""

import asyncio

from chancy import Queue
from worker import chancy

queue = Queue("default")


async def main(queue):
    async with chancy:
        await chancy.migrate()
        await chancy.declare(queue, upsert=True)


if __name__ == "__main__":
    asyncio.run(main(queue))
