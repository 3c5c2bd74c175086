"""Compression of tensors for slow links."""
