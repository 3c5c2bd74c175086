"""Planning: models are prepared, cut and replanned with the help of workers."""
