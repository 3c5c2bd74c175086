"""The gateway's own HTTP/2 edge: what gRPC is on the wire, for calls that are many."""
