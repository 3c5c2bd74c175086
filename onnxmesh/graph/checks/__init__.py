"""Checks that run a chain of partitions: against the whole model, in batches, and with lossy activations."""
