"""Memory of gateway and workers over minutes of mixed load."""
