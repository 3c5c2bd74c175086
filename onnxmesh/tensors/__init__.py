"""Tensors as they travel: a name, a datatype, a shape and raw bytes."""
