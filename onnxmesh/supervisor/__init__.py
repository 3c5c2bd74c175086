"""Supervisor: services as child processes on this machine, restarted when they die."""
