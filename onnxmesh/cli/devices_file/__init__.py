"""`devices.yaml`: the devices and links that `onnxmesh plan` plans for, as a file that people write."""
