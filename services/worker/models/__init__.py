"""Model files on this worker's disk, and the child process that prepares and cuts models."""
