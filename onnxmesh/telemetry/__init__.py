"""Telemetry: logs, metrics for Prometheus, and masked errors."""
