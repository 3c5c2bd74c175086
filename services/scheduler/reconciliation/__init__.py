"""Reconciliation of desired and held stages."""
