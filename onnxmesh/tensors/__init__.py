"""Tensors as they are sent: name, datatype, shape and raw bytes."""
