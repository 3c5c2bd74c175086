"""The processes of a mesh: gateway, scheduler, worker."""
