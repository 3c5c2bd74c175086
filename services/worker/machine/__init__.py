"""The machine that a worker runs on: its hardware, its speed, its load."""
