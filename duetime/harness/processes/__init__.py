"""The processes of a run: databases, brokers, workers, clients."""
