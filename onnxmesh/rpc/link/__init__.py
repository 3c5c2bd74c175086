"""Links: long-lived streams of frames between two processes."""
