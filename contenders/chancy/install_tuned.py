"""Create Chancy's tables, and its queue with threads and a faster poll."""

import asyncio

from chancy import Chancy, Queue
from install import main

if __name__ == "__main__":
    asyncio.run(
        main(
            Queue(
                "default",
                executor=Chancy.Executor.Threaded,
                concurrency=10,
                polling_interval=1,
                eager_polling=True,
            )
        )
    )
