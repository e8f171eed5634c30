"""The variant of the read model."""
