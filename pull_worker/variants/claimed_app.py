"""The Celery side of the sent log."""

from pull_worker.celeryapp import polling
from pull_worker.variants.claimed import poll_and_claim

app = polling("pull_worker", poll_and_claim)
