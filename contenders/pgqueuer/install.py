"""Create PgQueuer's tables, once, as ``pgq install`` does."""

import asyncio
import os

import asyncpg
from pgqueuer import Queries


async def main(*, autovacuum):
    connection = await asyncpg.connect(os.environ["DUETIME_DATABASE_DSN"])
    try:
        queries = Queries.from_asyncpg_connection(connection)
        async with queries.schema_lock():
            if not await queries.schema_is_installed():
                await queries.install()
            if autovacuum:
                await queries.optimize_autovacuum()
    finally:
        await connection.close()


if __name__ == "__main__":
    asyncio.run(main(autovacuum=False))
