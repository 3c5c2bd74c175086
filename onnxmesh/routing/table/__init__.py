"""Route table as gateways hold it: models, stages, replicas, workers, and changes between tables."""
