"""The process that clients talk to: validates, picks a route, dispatches, retries, answers."""
