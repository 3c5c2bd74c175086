"""Servers of others, measured beside the mesh: how each is installed, started and ended."""
