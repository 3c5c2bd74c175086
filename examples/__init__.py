"""Programs that use a mesh."""

import onnxmesh as onnxmesh  # before ONNX Runtime, whose telemetry it disables
