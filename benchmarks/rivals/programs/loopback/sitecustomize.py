"""On the path of servers whose gRPC ports are open to everyone, with no option for it: they listen on loopback alone."""

import grpc.aio


def _on_loopback(add):
    return lambda server, address: add(
        server, address.replace("[::]", "127.0.0.1").replace("0.0.0.0", "127.0.0.1")
    )


grpc.aio._server.Server.add_insecure_port = _on_loopback(grpc.aio._server.Server.add_insecure_port)
