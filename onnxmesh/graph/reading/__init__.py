"""ONNX models as files and as graphs: validation, optimisation, node order, liveness, value types."""
