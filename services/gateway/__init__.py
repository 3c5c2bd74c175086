"""The gateway service: the endpoint for clients, which validates, routes, dispatches and retries their requests."""
