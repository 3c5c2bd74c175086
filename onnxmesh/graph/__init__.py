"""ONNX graphs: reading, costs, measuring, cutting and running. Needs the extra `worker`."""
