"""Which of several schedulers decides: a port, and the adapters that stand behind it."""
