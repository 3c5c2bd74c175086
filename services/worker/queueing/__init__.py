"""Requests that wait for a stage, in which order and in which batches they run."""
