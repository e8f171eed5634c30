"""What the processes of a design import: the gateway, effects, failpoints, heartbeats."""
