"""Placement of stages on workers. Pure."""
