"""Connections between two processes of one host: a Unix socket for frames, shared memory for large payloads."""
