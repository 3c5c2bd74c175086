"""HTTP/2 server for gRPC calls that arrive in large numbers."""
