"""The device of this machine: its kind, its CPU class or GPU, its cores and memory."""
