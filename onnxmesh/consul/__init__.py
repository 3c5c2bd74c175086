"""Talking to a Consul agent: what discovery and state build on."""
