"""Measurements of a mesh against the limit: ONNX Runtime in one process. See METHODOLOGY.md."""
