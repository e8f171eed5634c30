"""Create Awa's tables, and start a worker for a moment.

The first worker of an empty database chooses Awa's present storage. If a job is there already, it keeps the old one.
"""

import asyncio

import awa
from jobs import DATABASE_URL, Deliver


async def main():
    client = awa.AsyncClient(DATABASE_URL)
    await client.migrate()

    @client.task(Deliver, queue="installation")
    async def deliver(_job):
        """Never called: no job is in this queue."""

    await client.start([("installation", 1)])
    await client.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
