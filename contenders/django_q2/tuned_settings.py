"""The same settings, with four workers, and tasks that a dead cluster held presented again after 6 s.

A task is ended after 3 s, because a task that takes longer than `retry` would be executed twice.
"""

from settings import *  # noqa: F403
from settings import Q_CLUSTER

Q_CLUSTER = {**Q_CLUSTER, "workers": 4, "timeout": 3, "retry": 6, "poll": 0.1}
