"""The worker: holds stages as ONNX Runtime sessions and passes tensors from stage to stage."""
