"""Batching at the gateway: small requests coalesced into one, large ones split into micro-batches."""
