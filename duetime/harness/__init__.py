"""Runs designs as real processes under faults, and records everything that the checker needs."""
