"""For ``celery -A oban_style_queue.worker``."""

from duetime.settings import Settings
from oban_style_queue.celeryapp import make_app

app = make_app(Settings.from_environment())
