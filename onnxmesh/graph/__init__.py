"""ONNX graphs: read, optimised, measured, cut, and run as a chain. Needs the extra `worker`."""
