"""Create PgQueuer's tables, and set their autovacuum as ``pgq autovac`` does."""

import asyncio

from install import main

if __name__ == "__main__":
    asyncio.run(main(autovacuum=True))
