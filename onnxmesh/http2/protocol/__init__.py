"""HTTP/2 and gRPC framing without I/O: bytes in, events out, bytes to send."""
