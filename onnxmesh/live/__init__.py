"""What processes of a mesh tell each other about right now: a port, and the adapters that stand behind it."""
