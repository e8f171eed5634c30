"""The Celery side of deleting first."""

from push_readmodel.celeryapp import draining
from push_readmodel.delete_first import drain_deleting_first

# Never tried again, so not Celery's "retried".
app = draining(drain_deleting_first, failure="task-failed")
