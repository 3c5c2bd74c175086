"""`onnxmesh up`: a mesh of processes on this machine."""
