"""Plans: surveys, messages and assessment. Pure."""
