"""How processes of a mesh talk: channels, multiplexed streams of frames, errors as gRPC statuses."""
