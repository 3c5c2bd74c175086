"""`make bench-plan`: predictions of the planner against measurements."""
