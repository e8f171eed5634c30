"""The processes of a run, and the services they talk to."""
