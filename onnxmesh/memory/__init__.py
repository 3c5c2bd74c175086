"""Memory that two processes, or a process and a GPU, share."""
