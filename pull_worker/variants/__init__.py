"""The poller's variants."""
