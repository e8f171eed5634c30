"""The variants of the read model."""
