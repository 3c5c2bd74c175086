"""Estimates from measurements: smoothed averages, typical times, linear costs, and trials of an alternative."""
