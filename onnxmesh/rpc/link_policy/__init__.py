"""Link policy."""
