"""Service process: settings, servers, health probe, and life cycle, shared by gateway, scheduler and worker."""
