"""Where to cut: costs of a graph, and the stages that follow from them. Pure: no onnx, no I/O; numpy for the search."""
