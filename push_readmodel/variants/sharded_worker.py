"""The app of ``celery -A push_readmodel.variants.sharded_worker``."""

import os

from duetime.settings import Settings
from push_readmodel.celeryapp import make_app
from push_readmodel.drain_settings import DrainSettings
from push_readmodel.variants.sharded import check_environment, make_fleet, shard_urls

check_environment(os.environ)
settings, drain_settings = Settings.from_environment(), DrainSettings.from_environment()
app = make_app(settings, drain_settings, make_loop=make_fleet)
# So many threads for each shard: one that does not answer must not keep those of the others.
app.conf.worker_concurrency = drain_settings.threads * len(shard_urls(settings))
