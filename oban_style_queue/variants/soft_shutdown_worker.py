"""For ``celery -A oban_style_queue.variants.soft_shutdown_worker``."""

from duetime.settings import Settings
from oban_style_queue.variants.soft_shutdown import make_app

app = make_app(Settings.from_environment())
