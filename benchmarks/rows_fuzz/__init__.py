"""Random graphs against the proof that rows are independent, and through a mesh."""
