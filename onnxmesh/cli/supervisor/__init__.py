"""The embedded mesh: every service as a process of its own on this machine, kept alive."""
