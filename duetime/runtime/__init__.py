"""Modules that the processes of a design import: gateway, effects, failpoints, heartbeat."""
