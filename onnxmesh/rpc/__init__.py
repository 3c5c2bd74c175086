"""Communication between the processes of a mesh: links, frames, gRPC channels and statuses."""
