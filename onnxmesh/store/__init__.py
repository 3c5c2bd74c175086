"""Content-addressed store of blobs, which schedulers and workers serve to each other."""
