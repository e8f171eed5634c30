"""The tuned project: ``DJANGO_SETTINGS_MODULE=tunedsettings``. The quotations are of Celery's documentation."""

from djangosettings import *  # noqa: F403

# "If set to 1, beat will call sync after every task message sent." Otherwise it does so every three minutes.
CELERY_BEAT_SYNC_EVERY = 1
# "The maximum number of seconds beat can sleep between checking the schedule." 5 s for this scheduler.
CELERY_BEAT_MAX_LOOP_INTERVAL = 0.5
# "a task that's already started executing will be retried in the event of … the worker instance being killed"
CELERY_TASK_ACKS_LATE = True
# Without it, "the worker will acknowledge tasks when the worker process executing them abruptly exits".
CELERY_TASK_REJECT_ON_WORKER_LOST = True
# "The visibility timeout defines the number of seconds to wait for the worker to acknowledge the task". An hour by
# default. kombu looks every 10 s, at each tenth time; these two options are of kombu's module for Redis.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 3,
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
}
# How often a message that Redis does not take is sent again: 3 times within 0.6 s by default.
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 20, "interval_start": 0.2, "interval_step": 0.2, "interval_max": 1}
# "Automatic retry for known exceptions": by default a task that raises is not repeated. A worker holds the message of
# a retry, so each must come within the visibility timeout.
CELERY_TASK_ANNOTATIONS = {
    "deliver": {"autoretry_for": (OSError,), "retry_backoff": True, "retry_backoff_max": 2, "max_retries": 20}
}
