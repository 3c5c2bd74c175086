"""`devices.yaml`: the devices and links that `onnxmesh plan` plans for, as a person writes them down."""
