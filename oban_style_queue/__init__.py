"""The generic queue: each notification is a Celery task with an ETA."""
