"""Distributed inference mesh for ONNX models."""

import os

__version__ = "0.1.0"

# From 1.29 on, ONNX Runtime sends telemetry with the names and digests of loaded models, unless this is set before it is
# imported. Child processes inherit it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
