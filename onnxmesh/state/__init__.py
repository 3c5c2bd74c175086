"""Durable state of a mesh, deployments and traffic splits: the port, and adapters for SQLite and Consul."""
