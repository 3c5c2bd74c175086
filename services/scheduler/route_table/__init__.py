"""Route table."""
