"""The search of the planner: exact dynamic programmes over a chain of blocks, and the heuristic beyond them."""
