"""The app of ``celery -A push_readmodel.worker``."""

from duetime.settings import Settings
from push_readmodel.celeryapp import make_app
from push_readmodel.drain_settings import DrainSettings

app = make_app(Settings.from_environment(), DrainSettings.from_environment())
