"""Distributed inference mesh for ONNX models."""

import os

__version__ = "0.1.0"

# From 1.29 on, ONNX Runtime tells its makers the names and digests of models that it loads, unless this is set before it is
# imported. Processes that this one starts inherit it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
