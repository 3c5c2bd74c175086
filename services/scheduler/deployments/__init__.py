"""Deployments, their blobs and their traffic splits, in memory and in the store."""
