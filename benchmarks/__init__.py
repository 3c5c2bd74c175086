"""Measurements of a mesh against the limit: ONNX Runtime in one process. See METHODOLOGY.md."""

import onnxmesh as onnxmesh  # before ONNX Runtime, which it keeps from telling others
