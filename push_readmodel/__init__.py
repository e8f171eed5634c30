"""The read model: schedule() writes pending_notifications, workers drain it."""
