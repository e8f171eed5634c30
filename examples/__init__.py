"""Examples that are not part of a design."""
