"""The route table in force and its watchers, at the leader and at followers."""
