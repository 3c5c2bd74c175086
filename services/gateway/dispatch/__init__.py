"""Dispatch: attempts at a request on the workers of the route table, retries, deadlines."""
