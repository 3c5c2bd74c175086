"""Distributed inference mesh for ONNX models."""

__version__ = "0.1.0"
