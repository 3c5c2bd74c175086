"""The scheduler service: plans, places and publishes what a mesh serves."""
