"""Tensors in fewer bytes, for links where bytes cost more than the work of leaving some out."""
