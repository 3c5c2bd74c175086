"""asyncio server around the HTTP/2 protocol: connections, calls, timers, sockets."""
