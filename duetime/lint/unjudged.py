"""What the linter does not judge, so that its silence is not taken for approval. Always reported.

What kombu does with a message was read in the sources of kombu 5.7.0, `transport/*.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from duetime.lint.broker import redis_broker
from duetime.lint.case import Case
from duetime.lint.finding import Finding
from duetime.lint.rabbitmq_rules import rabbit_queues
from duetime.lint.shutdown_rules import soft_shutdown
from duetime.lint.sqs_rules import sqs_broker
from duetime.lint.text import listed
from duetime.lint.time_limit_rules import task_limit
from duetime.lint.transport import others, transport

TIMING = "redelivery after a killed worker, ETAs and countdowns, long tasks, cancellation and lost connections"
TAKEN_AT_ONCE = (
    f"{TIMING}. Known: kombu removes a message from the broker when a worker receives it, so a killed worker loses all "
    "that it held, ETA tasks too"
)
BY_DRIVER: Mapping[str, str] = {
    "redis": "settings of the server (appendonly, maxmemory-policy, failover to a replica) and the visibility timeout "
    "of applications that are not among the targets; the lowest on the same database applies to all",
    "amqp": "what the server and its policies say (consumer_timeout, message-ttl, max-length, delivery-limit) and "
    "queues that already exist with other arguments. Known: from RabbitMQ 4.0 a quorum queue drops a message that was "
    "returned more than 20 times, and an ETA task in a worker is returned at each restart",
    "sqs": "the attributes of queues that already exist (VisibilityTimeout, MessageRetentionPeriod, DelaySeconds, "
    "RedrivePolicy): kombu sets them only when it creates a queue. Known: a delay_seconds above 900 is cut to 900",
    "memory": f"{TIMING}. Known: the messages live in one process and end with it; this transport is for tests",
    "confluentkafka": f"{TIMING}. Known: Kafka keeps one position for each partition, not an acknowledgement for each "
    "message, so a later message that is acknowledged covers an earlier ETA task",
    "gcpubsub": f"{TIMING}. Known: kombu extends the deadline (ack_deadline_seconds, 240) of what a worker holds, and "
    "lets Pub/Sub delete a message after expiration_seconds (86400), also one with a later ETA",
    "azureservicebus": f"{TIMING}. Known: peek_lock_seconds (60, at most 300) acts like a visibility timeout unless "
    "use_lock_renewal is true, and then max_lock_renewal_duration (3600) does",
    "pgmq": f"{TIMING}. Known: visibility_timeout (1800) acts as with Redis",
    "SLMQ": f"{TIMING}. Known: visibility_timeout (1800) acts as with Redis",
    **dict.fromkeys(
        ("azurestoragequeues", "consul", "etcd", "filesystem", "mongodb", "pyro", "sqlalchemy", "zookeeper"),
        TAKEN_AT_ONCE,
    ),
}


def not_judged(case: Case) -> Iterator[Finding]:
    """Yield one finding that names all that was not judged."""
    found = transport(case.target.app)
    points = [f"not judged on this transport: {BY_DRIVER.get(found.driver, TIMING)}."]
    if points_of_tasks := [*_other_points(case)]:
        points.append(f"Not judged either: {'; '.join(points_of_tasks)}.")
    yield Finding(
        target=case.target.name,
        level="not judged",
        setting="broker transport",
        value=found.name,
        is_default=False,
        consequence=" ".join(points),
        fix="check these by hand.",
        scenario=None,
    )


def _other_points(case: Case) -> Iterator[str]:
    if more := others(case.target.app):
        yield f"the other broker URLs ({listed(more)}); only the first that the workers read from"
    endless = [str(task.name) for task in case.tasks if task.acks_late and task_limit(case, task) is None]
    if endless and (redis_broker(case.target.app) or sqs_broker(case) or rabbit_queues(case)):
        yield (
            f"how long {listed(endless)} may run, acknowledged late and without a time limit, against the timeout "
            "after which the broker delivers a message again"
        )
    if soft_shutdown(case) and case.grace is None:
        yield "worker_soft_shutdown_timeout against the time from SIGTERM to SIGKILL; pass it as --grace"
