"""The job, and the worker: ``python jobs.py NAME``.

The worker has imported this module before it forks for each job, as RQ's documentation advises for performance.
"""

import json
import os
import sys
from urllib.request import Request, urlopen

from redis import Redis
from rq import Queue, Worker


def deliver(key, revision):
    body = {"key": key, "revision": revision, "worker": os.environ["DUETIME_WORKER"]}
    urlopen(Request(os.environ["DUETIME_GATEWAY_URL"], json.dumps(body).encode())).close()


def work(name):
    import jobs  # noqa: F401 - under the name by which RQ finds it

    connection = Redis.from_url(os.environ["REDIS_URL"])
    # With the process id: after SIGKILL a worker of the same name is still registered, and RQ refuses a second one.
    Worker([Queue(connection=connection)], connection=connection, name=f"{name}-{os.getpid()}").work(
        with_scheduler=True
    )


if __name__ == "__main__":
    work(sys.argv[1])
