"""Programs that use a mesh."""

import onnxmesh as onnxmesh  # before ONNX Runtime, which it keeps from telling others
