"""gRPC as all services use it: channels, server options, statuses, error interceptor, reverse proxy."""
