"""Loaded stages at work: the event loop's side and the threads that run the sessions."""
