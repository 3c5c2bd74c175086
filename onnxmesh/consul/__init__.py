"""Consul agent: calls without blocking the event loop, retries, and blocking queries."""
