"""A worker: ``python worker.py``, or ``python worker.py tuned``."""

import asyncio
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.error import URLError

import awa
from jobs import DATABASE_URL, Deliver, post

TUNED = {
    # "For a 5-second crash detection target": Awa's page about configuration.
    "heartbeat_interval_ms": 1000,
    "heartbeat_staleness_ms": 4000,
    "heartbeat_rescue_interval_ms": 1000,
    # Only a leader promotes due jobs and rescues; this is how often the others ask to be it. 10 s by default.
    "leader_election_interval_ms": 1000,
}


async def main():
    client = awa.AsyncClient(DATABASE_URL)

    @client.task(Deliver)
    async def deliver(job):
        await asyncio.to_thread(post, job)

    await client.start([("default", 4)])
    await until_sigterm()
    await client.shutdown()


async def tuned():
    client = awa.AsyncClient(DATABASE_URL)
    # By default as many threads as there are processors, and four.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(10))

    @client.task(Deliver)
    async def deliver(job):
        try:
            await asyncio.to_thread(post, job)
        except URLError:
            return awa.RetryAfter(1)

    await client.start([("default", 10)], **TUNED)
    await until_sigterm()
    await client.shutdown(timeout_ms=30000)


async def until_sigterm():
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    print("worker started", flush=True)
    await stopped.wait()


if __name__ == "__main__":
    asyncio.run(tuned() if "tuned" in sys.argv else main())
