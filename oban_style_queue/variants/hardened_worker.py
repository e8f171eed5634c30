"""For ``celery -A oban_style_queue.variants.hardened_worker``."""

from duetime.settings import Settings
from oban_style_queue.variants.hardened import make_app

app = make_app(Settings.from_environment())
