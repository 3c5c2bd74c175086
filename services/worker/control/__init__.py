"""How schedulers control this worker: the WorkerControl service, placed stages, draining, link probes."""
