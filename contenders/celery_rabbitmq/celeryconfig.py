"""The settings of Celery's page "Using RabbitMQ", section "Using Quorum Queues".

Native delayed delivery needs no setting: "automatically enabled when quorum queues are detected".
"""

import os

broker_url = os.environ["DUETIME_SERVICE_RABBITMQ"]
task_default_queue = "notifications"
task_default_queue_type = "quorum"
# "native delayed delivery do not support direct exchanges"
task_default_exchange_type = "topic"
# "Quorum queues require confirm publish to be enabled."
broker_transport_options = {"confirm_publish": True}
