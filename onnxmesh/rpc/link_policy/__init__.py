"""Decisions about one link, as pure objects: heartbeats, estimates, credits, write delays."""
