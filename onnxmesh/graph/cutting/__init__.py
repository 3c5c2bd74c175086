"""Cutting a graph into partitions, and the folder and plan file that describe them."""
