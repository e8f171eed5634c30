"""The app of ``celery -A push_readmodel.variants.partitioned_worker``."""

from duetime.settings import Settings
from push_readmodel.celeryapp import make_app
from push_readmodel.drain_settings import DrainSettings
from push_readmodel.variants.partitioned import DrainOwnPartitionsFirst

app = make_app(Settings.from_environment(), DrainSettings.from_environment(), DrainOwnPartitionsFirst)
