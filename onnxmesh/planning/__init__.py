"""Where to cut: costs of a graph, and the stages that follow from them. Pure: no onnx, no numpy, no I/O."""
