"""Choosing who runs what: pure policy that the scheduler and the gateways share."""
