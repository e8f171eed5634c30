"""Reduces the plan of a failed run to the smallest that still fails in the same way."""
