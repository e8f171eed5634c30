"""Create PgQueuer's tables, once, as ``pgq install`` does."""

import asyncio
import os

import asyncpg
from pgqueuer import Queries


async def main():
    connection = await asyncpg.connect(os.environ["DUETIME_DATABASE_DSN"])
    try:
        queries = Queries.from_asyncpg_connection(connection)
        async with queries.schema_lock():
            if not await queries.schema_is_installed():
                await queries.install()
    finally:
        await connection.close()


asyncio.run(main())
