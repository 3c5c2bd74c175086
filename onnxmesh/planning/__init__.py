"""The planner: cut points, stages and their devices, from the costs of a graph. Pure; needs numpy only."""
