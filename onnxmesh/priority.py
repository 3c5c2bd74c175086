"""How urgent requests are."""

DEFAULT_PRIORITY = 100
"""Of a request that says none; less is more urgent."""
