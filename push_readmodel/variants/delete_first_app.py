"""The Celery side of deleting first."""

from push_readmodel.celeryapp import draining
from push_readmodel.variants.delete_first import DrainDeletingFirst

# Never tried again, so not Celery's "retried".
app = draining(DrainDeletingFirst, failure="task-failed")
