"""Priority of requests."""

DEFAULT_PRIORITY = 100
"""Priority of a request that sets none; a lower number is more urgent."""
