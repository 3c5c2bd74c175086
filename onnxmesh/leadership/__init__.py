"""Leader election among schedulers: the port, and its adapters for a file lock and for Consul."""
