"""For ``celery -A pull_worker.variants.claimed_worker``."""

from duetime.settings import Settings
from pull_worker.celeryapp import make_app
from pull_worker.variants.claimed import poll_and_claim

app = make_app(Settings.from_environment(), poll_and_claim)
