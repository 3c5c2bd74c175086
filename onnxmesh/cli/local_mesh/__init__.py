"""Local mesh."""
