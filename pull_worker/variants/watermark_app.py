"""The Celery side of the watermark."""

from pull_worker.celeryapp import polling
from pull_worker.variants.watermark import poll_since_watermark

app = polling("pull_worker", poll_since_watermark)
