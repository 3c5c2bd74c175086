"""Frames: the messages between gateways and workers, and their wire form."""
