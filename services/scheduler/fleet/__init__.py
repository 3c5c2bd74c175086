"""Connections to the registered workers, and measured links between them."""
