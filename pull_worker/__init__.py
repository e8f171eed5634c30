"""The naive poller: each worker's beat polls the application's events table."""
