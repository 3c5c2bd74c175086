"""ONNX Runtime sessions: a loaded partition, its inputs, its output buffers and its errors."""
