"""The read model's variant."""
