"""Measured times: of the nodes of a graph, and of the device that runs it."""
