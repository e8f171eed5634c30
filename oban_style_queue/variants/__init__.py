"""The queue's variants."""
