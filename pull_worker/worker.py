"""For ``celery -A pull_worker.worker``."""

from duetime.settings import Settings
from pull_worker.celeryapp import make_app
from pull_worker.poll import poll

app = make_app(Settings.from_environment(), poll)
