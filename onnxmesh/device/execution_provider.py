"""Names of ONNX Runtime's execution providers."""

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
"""For NVIDIA GPUs."""
