"""The app of ``celery -A push_readmodel.variants.delete_first_worker``."""

from duetime.settings import Settings
from push_readmodel.celeryapp import make_app
from push_readmodel.drain_settings import DrainSettings
from push_readmodel.variants.delete_first import DrainDeletingFirst

# A failed delivery is not retried, so Flower must not show "retried".
app = make_app(Settings.from_environment(), DrainSettings.from_environment(), DrainDeletingFirst, failure="task-failed")
