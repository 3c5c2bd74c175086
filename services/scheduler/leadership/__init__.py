"""Leadership: what a scheduler has while it leads, and what it shares between terms."""
