"""Costs of a graph for the planner: operations, bytes moved, working memory, boundaries."""
