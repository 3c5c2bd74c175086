"""The worker: loads stages as ONNX Runtime sessions, runs requests on them and forwards the activations."""
