"""For ``celery -A oban_style_queue.variants.staged_worker``."""

from duetime.settings import Settings
from oban_style_queue.variants.staged import make_app

app = make_app(Settings.from_environment())
