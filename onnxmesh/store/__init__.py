"""Files named by their content: what schedulers and workers keep and give each other."""
