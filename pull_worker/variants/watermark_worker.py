"""For ``celery -A pull_worker.variants.watermark_worker``."""

from duetime.settings import Settings
from pull_worker.celeryapp import make_app
from pull_worker.variants.watermark import poll_since_watermark

app = make_app(Settings.from_environment(), poll_since_watermark)
